/* A layer between a program and fsync/fdatasync, for tests: loaded with LD_PRELOAD.
 *
 * SYNC_SHIM_FOLDER   the data folder, as an absolute path without links
 * SYNC_SHIM_CONTROL  a folder outside of it, with:
 *   hold    while it exists, syncs of matching files wait; `held` appears while one does
 *   fail    while it exists, syncs of matching files fail with EIO and do nothing
 *   lie     while it exists, syncs are said to have been done, but nothing is kept of them
 *   syncs   gets a line with the path for each sync of anything that was done
 *   shadow/ the data folder as a power cut would leave it at worst: a file has the content it had at its last sync,
 *           and is gone if it was at the last sync of the folder
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
#include <unistd.h>

static pthread_mutex_t keeping = PTHREAD_MUTEX_INITIALIZER;

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
    if (write(fd, line, (size_t)length) < 0) abort();
    close(fd);
}

/* Copies an open file under its name into the shadow, all of it or nothing. The file is not opened again here: closing
 * it would take the process's locks on it away. */
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
            close(new);
        }
        forget_in_shadow(folder);
    } else if (strncmp(path, folder, strlen(folder)) == 0 && !ends_with(path, ".new")) {
        copy_to_shadow(fd, path);
    }
    pthread_mutex_unlock(&keeping);
}

static int sync_with(int fd, const char *function) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, function);
    const char *folder = getenv("SYNC_SHIM_FOLDER");
    char link[64], path[PATH_MAX], held[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0 || folder == NULL) return real(fd);
    path[length] = '\0';
    int is_inside = strncmp(path, folder, strlen(folder)) == 0;
    if (is_inside && is_on("hold", path)) {
        append_line("held", path);
        while (is_on("hold", path)) usleep(1000);
        control_path(held, "held");
        unlink(held);
    }
    if (is_inside && is_on("fail", path)) {
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
