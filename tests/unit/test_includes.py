"""The include direction core <- shard <- {lua, net} <- net/main.c holds, and includes are written from the root."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
MAY_INCLUDE = {
    "core": {"core"},
    "shard": {"core", "shard"},
    "lua": {"core", "shard", "lua"},
    "net": {"core", "shard", "net"},
}
EVERYTHING = {"net/main.c"}
QUOTED = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def wrong_includes():
    for folder, allowed in MAY_INCLUDE.items():
        for path in sorted((ROOT / folder).glob("*.[ch]")):
            name = path.relative_to(ROOT).as_posix()
            for number, line in enumerate(path.read_text().splitlines(), 1):
                found = QUOTED.match(line)
                if not found:
                    continue
                target = found.group(1)
                if not (ROOT / target).exists():
                    yield f"{name}:{number}: {target} is not a path from the root"
                elif name not in EVERYTHING and target.split("/")[0] not in allowed:
                    yield f"{name}:{number}: {folder} may not include {target}"


checked = sum(len(list((ROOT / folder).glob("*.[ch]"))) for folder in MAY_INCLUDE)
assert checked > 0, f"no sources found under {ROOT}"
problems = list(wrong_includes())
print("\n".join(problems) or f"{checked} files follow core <- shard <- lua, net <- net/main.c")
sys.exit(bool(problems))
