/* A layer between a program and its writes and syncs, for tests: loaded with LD_PRELOAD.
 *
 * SYNC_SHIM_FOLDER   the data folder, as an absolute path without links
 * SYNC_SHIM_CONTROL  a folder outside of it, with:
 *   hold    while it exists, syncs of matching files wait; `held` appears while one does
 *   fail    while it exists, syncs of matching files fail with EIO and do nothing, and what they were to make last is
 *           taken for clean, as Linux does: later syncs make only what is written later last
 *   lie     while it exists, syncs are said to have been done, but nothing is kept of them
 *   syncs   gets a line with the path for each sync of anything that was done
 *   shadow/ the data folder as a power cut would leave it at worst: a file has what was written to it before its last
 *           sync, and is gone if it was at the last sync of the folder
 *   dirty/  for each file what has been written since its last sync, also by programs that were killed
 *
 * `hold` and `fail` hold the end of the names they are for; empty is any file in the data folder.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t keeping = PTHREAD_MUTEX_INITIALIZER;

/* Without the layer. */
static ssize_t real_write(int fd, const void *bytes, size_t count) { return syscall(SYS_write, fd, bytes, count); }

static ssize_t real_pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return syscall(SYS_pwrite64, fd, bytes, count, at);
}

static int real_ftruncate(int fd, off_t length) { return (int)syscall(SYS_ftruncate, fd, length); }

static void control_path(char *out, const char *name) {
    const char *folder = getenv("SYNC_SHIM_CONTROL");
    snprintf(out, PATH_MAX, "%s/%s", folder ? folder : "/nonexistent", name);
}

static int ends_with(const char *text, const char *end) {
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* Does this control file exist, and is it for this path? */
static int is_on(const char *name, const char *path) {
    char control[PATH_MAX], end[256];
    control_path(control, name);
    int fd = open(control, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t length = read(fd, end, sizeof end - 1);
    close(fd);
    end[length > 0 ? length : 0] = '\0';
    return ends_with(path, end);
}

static void append_line(const char *name, const char *text) {
    char control[PATH_MAX], line[PATH_MAX + 1];
    control_path(control, name);
    int fd = open(control, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) return;
    int length = snprintf(line, sizeof line, "%s\n", text);
    if (real_write(fd, line, (size_t)length) < 0) abort();
    close(fd);
}

/* Copies an open file under its name into the shadow, all of it or nothing. */
static void copy_to_shadow(int from, const char *path) {
    char name[PATH_MAX], target[PATH_MAX], unfinished[PATH_MAX];
    struct stat stat;
    off_t at = 0;
    snprintf(name, sizeof name, "shadow/%s", strrchr(path, '/') + 1);
    control_path(target, name);
    control_path(unfinished, "unfinished");
    int to = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (to < 0 || fstat(from, &stat) != 0) abort();
    while (at < stat.st_size) {
        if (sendfile(to, from, &at, (size_t)(stat.st_size - at)) <= 0) abort();
    }
    close(to);
    if (rename(unfinished, target) != 0) abort();
}

/* Takes away what is no longer in the folder. */
static void forget_in_shadow(const char *folder) {
    char shadow[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    control_path(shadow, "shadow");
    DIR *dir = opendir(shadow);
    if (dir == NULL) abort();
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (access(path, F_OK) != 0) unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
}

/* A piece of a file that was written, or its end after it was cut (length -1). */
struct piece {
    off_t at;
    off_t length;
};

static int open_dirty(const char *path, int flags) {
    char name[PATH_MAX], dirty[PATH_MAX];
    snprintf(name, sizeof name, "dirty/%s", strrchr(path, '/') + 1);
    control_path(dirty, name);
    return open(dirty, flags | O_CREAT | O_CLOEXEC, 0644);
}

static void note_piece(const char *path, off_t at, off_t length) {
    struct piece piece = {at, length};
    int fd = open_dirty(path, O_WRONLY | O_APPEND);
    if (fd < 0 || real_write(fd, &piece, sizeof piece) != sizeof piece) abort();
    close(fd);
}

/* What has been written to this file since its last sync will be lost: the kernel takes it for clean. */
static void forget_pieces(const char *path) {
    int fd = open_dirty(path, O_WRONLY | O_TRUNC);
    if (fd < 0) abort();
    close(fd);
}

static void copy_piece(int from, int to, struct piece piece) {
    static char bytes[65536];
    if (piece.length < 0) {
        if (real_ftruncate(to, piece.at) != 0) abort();
        return;
    }
    while (piece.length > 0) {
        size_t wanted = piece.length < (off_t)sizeof bytes ? (size_t)piece.length : sizeof bytes;
        ssize_t got = pread(from, bytes, wanted, piece.at);
        if (got <= 0) return; /* it was cut later */
        if (real_pwrite(to, bytes, (size_t)got, piece.at) != got) abort();
        piece.at += got;
        piece.length -= got;
    }
}

/* Copies into the shadow what has been written to an open file since its last sync. The file is not opened again
 * here: closing it would take the process's locks on it away. */
static void copy_pieces_to_shadow(int from, const char *path) {
    char name[PATH_MAX], target[PATH_MAX];
    struct piece piece;
    struct stat of_file, of_shadow;
    snprintf(name, sizeof name, "shadow/%s", strrchr(path, '/') + 1);
    control_path(target, name);
    int to = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0644), dirty = open_dirty(path, O_RDONLY);
    if (to < 0 || dirty < 0) abort();
    while (read(dirty, &piece, sizeof piece) == sizeof piece) copy_piece(from, to, piece);
    if (fstat(from, &of_file) != 0 || fstat(to, &of_shadow) != 0) abort();
    if (of_shadow.st_size > of_file.st_size && real_ftruncate(to, of_file.st_size) != 0) abort();
    close(to);
    close(dirty);
    forget_pieces(path);
}

/* What a sync of this path makes last. */
static void keep(int fd, const char *path, const char *folder) {
    char database[PATH_MAX], shadow[PATH_MAX];
    pthread_mutex_lock(&keeping);
    append_line("syncs", path);
    if (strcmp(path, folder) == 0) {
        /* The folder itself: from now on the database has its name. What is in it has been synced under another one,
         * and nobody has it open yet. */
        snprintf(database, sizeof database, "%s/vidette.db", folder);
        control_path(shadow, "shadow/vidette.db");
        int new = access(shadow, F_OK) != 0 ? open(database, O_RDONLY | O_CLOEXEC) : -1;
        if (new >= 0) {
            copy_to_shadow(new, database);
            forget_pieces(database);
            close(new);
        }
        forget_in_shadow(folder);
    } else if (strncmp(path, folder, strlen(folder)) == 0 && !ends_with(path, ".new")) {
        copy_pieces_to_shadow(fd, path);
    }
    pthread_mutex_unlock(&keeping);
}

/* The path of an open file. */
static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = '\0';
    return 1;
}

/* Is it a file in the data folder, and which? */
static int is_in_folder(int fd, char *path) {
    const char *folder = getenv("SYNC_SHIM_FOLDER");
    if (folder == NULL || !path_of(fd, path)) return 0;
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && path[length] == '/';
}

static int sync_with(int fd, const char *function) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, function);
    const char *folder = getenv("SYNC_SHIM_FOLDER");
    char path[PATH_MAX], held[PATH_MAX];
    if (folder == NULL || !path_of(fd, path)) return real(fd);
    int is_inside = strncmp(path, folder, strlen(folder)) == 0;
    if (is_inside && is_on("hold", path)) {
        append_line("held", path);
        while (is_on("hold", path)) usleep(1000);
        control_path(held, "held");
        unlink(held);
    }
    if (is_inside && is_on("fail", path)) {
        pthread_mutex_lock(&keeping);
        forget_pieces(path);
        pthread_mutex_unlock(&keeping);
        append_line("failed", path);
        errno = EIO;
        return -1;
    }
    if (is_inside && is_on("lie", path)) return 0;
    int done = real(fd);
    if (done == 0) keep(fd, path, folder);
    return done;
}

int fsync(int fd) { return sync_with(fd, "fsync"); }

int fdatasync(int fd) { return sync_with(fd, "fdatasync"); }

/* Writes, and notes what was written; both at once, or a sync in between would miss it. */
static ssize_t write_at(int fd, const void *bytes, size_t count, off_t at, int is_at) {
    char path[PATH_MAX];
    if (!is_in_folder(fd, path)) return is_at ? real_pwrite(fd, bytes, count, at) : real_write(fd, bytes, count);
    pthread_mutex_lock(&keeping);
    if (!is_at) at = lseek(fd, 0, SEEK_CUR);
    ssize_t written = is_at ? real_pwrite(fd, bytes, count, at) : real_write(fd, bytes, count);
    int error = errno;
    if (written > 0) note_piece(path, at, written);
    pthread_mutex_unlock(&keeping);
    errno = error;
    return written;
}

ssize_t write(int fd, const void *bytes, size_t count) { return write_at(fd, bytes, count, 0, 0); }

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return write_at(fd, bytes, count, at, 1); }

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t at) { return write_at(fd, bytes, count, at, 1); }

static int cut(int fd, off_t length) {
    char path[PATH_MAX];
    if (!is_in_folder(fd, path)) return real_ftruncate(fd, length);
    pthread_mutex_lock(&keeping);
    int done = real_ftruncate(fd, length);
    if (done == 0) note_piece(path, length, -1);
    pthread_mutex_unlock(&keeping);
    return done;
}

int ftruncate(int fd, off_t length) { return cut(fd, length); }

int ftruncate64(int fd, off_t length) { return cut(fd, length); }
