#!/usr/bin/env python3
"""How easily the code reads, as figures: python3 scripts/readability.py [FOLDER …]

Without folders: src, bench/src and bench/simulate/src. In-file tests and generated code are left out; comments are not
counted in a function's characters. It prints medians, 90th percentiles and maxima, the share of
lines over 100 columns, the whole-line comments inside code for each line of code, and type names
that are defined more than once below one top module.
"""

import collections
import pathlib
import re
import sys

COLUMNS = 100
FOLDERS = ["src", "bench/src", "bench/simulate/src"]
TOKEN = re.compile(
    r"""(?P<line>//[^\n]*) | (?P<block>/\*.*?\*/)
      | (?P<raw>b?r(?P<hashes>\#*)".*?"(?P=hashes)) | (?P<text>b?"(?:\\.|[^"\\])*")
      | (?P<char>b?'(?:\\(?:u\{[0-9a-fA-F]+\}|x..|.)|[^'\\\n])') """,
    re.X | re.S,
)
FUNCTION = re.compile(r"\bfn\s+(\w+)")
TYPE = re.compile(r"^(?:pub(?:\([^)]*\))?\s+)?(?:struct|enum|trait|type)\s+(\w+)", re.M)


def without_tests(text):
    """The text up to its in-file tests."""
    return text.split("#[cfg(test)]\nmod tests {")[0]


def blanked(text):
    """The same text with comments as spaces and literals as x, so that braces and words count."""

    def blank(match):
        kind = match.lastgroup if match.lastgroup != "hashes" else "raw"
        fill = " " if kind in ("line", "block") else "x"
        return "".join(c if c == "\n" else fill for c in match.group())

    return TOKEN.sub(blank, text)


def bodies(code):
    """Name, first line and body of each function that has one."""
    for match in FUNCTION.finditer(code):
        begin = next((i for i in range(match.end(), len(code)) if code[i] in "{;"), None)
        if begin is None or code[begin] == ";":
            continue
        depth, end = 0, begin
        for end in range(begin, len(code)):
            depth += {"{": 1, "}": -1}.get(code[end], 0)
            if depth == 0:
                break
        yield match.group(1), code.count("\n", 0, begin) + 1, code[begin : end + 1]


def comments_in_code(text, code):
    """Whole-line `//` comments inside functions, and lines of code."""
    lines, inside = text.split("\n"), set()
    for _, first, body in bodies(code):
        inside.update(range(first, first + body.count("\n")))
    comments = sum(bool(re.match(r"\s*//(?!/|!)", lines[i])) for i in inside)
    return comments, sum(bool(line.strip()) for line in code.split("\n"))


def spread(values):
    values = sorted(values) or [0]
    at = lambda share: values[min(len(values) - 1, int(len(values) * share))]
    return f"{at(0.5)} / {at(0.9)} / {values[-1]}"


def measure(folders):
    files, functions, characters, wide, total = [], [], [], 0, 0
    comments, code_lines = 0, 0
    types = collections.defaultdict(list)
    for folder in folders:
        for path in sorted(pathlib.Path(folder).rglob("*.rs")):
            if path.name == "tests.rs":
                continue
            text = without_tests(path.read_text(encoding="utf-8"))
            code = blanked(text)
            lines = text.split("\n")
            files.append(len(lines))
            wide += sum(len(line) > COLUMNS for line in lines)
            total += len(lines)
            for _, _, body in bodies(code):
                functions.append(body.count("\n") + 1)
                characters.append(len(re.sub(r"\s", "", body)))
            found, of_code = comments_in_code(text, code)
            comments, code_lines = comments + found, code_lines + of_code
            module = path.relative_to(folder).parts[0].removesuffix(".rs")
            for name in TYPE.findall(code):
                types[folder, module, name].append(str(path))
    print(f"lines a file, median / p90 / max         {spread(files)}")
    print(f"lines a function, median / p90 / max     {spread(functions)}")
    print(f"characters a function, likewise          {spread(characters)}")
    print(f"lines over {COLUMNS} columns                   {wide} of {total}")
    print(f"// inside code, for each line of code    {comments / max(code_lines, 1):.3f}")
    repeated = {key: paths for key, paths in types.items() if len(paths) > 1}
    print(f"type names repeated below a module       {len(repeated)}")
    for (_, module, name), paths in sorted(repeated.items()):
        print(f"  {module}: {name} in {', '.join(paths)}")


if __name__ == "__main__":
    measure(sys.argv[1:] or FOLDERS)
