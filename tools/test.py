"""Every check of the project: python tools/test.py [--only WORD] [FLAG...]

FLAG: `slow` and `cuda` add the notebook cells that carry that flag. `--only WORD` runs the parts whose name contains WORD.
Prints what failed, then a table with the time of each part; the exit status says whether all passed. Times are a report: a part that takes longer than it should is
marked and does not fail, since a busy machine would fail it as well.
"""
import argparse
import ast
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import nbformat

root = Path(__file__).resolve().parent.parent
nbs, package = root / "nbs", root / "bijdiff"
scripts = Path(sys.executable).parent
written_by_hand = {"__init__.py", "__main__.py"}
LIMITS = {"room": 30, "tutorial": 60}  # seconds on two cores


def run(*command, cwd=root, **environment) -> str:
    "Output of a command that must succeed: the name of a tool of this environment, then arguments."
    done = subprocess.run([str(scripts / command[0]), *map(str, command[1:])], cwd=cwd, env={**os.environ, **environment}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    if done.returncode: raise AssertionError(done.stdout[-6000:].strip() or f"{command[0]} ended with status {done.returncode}")
    return done.stdout


def all_notebooks() -> list[Path]:
    return sorted(p.relative_to(root) for p in nbs.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def rooms() -> dict[str, Path]:
    "Module name -> notebook, in the order of the house; a room with a letter, split off from the one of its number, stands above it."
    found = {}
    for path in sorted(nbs.glob("[0-9]*.ipynb"), key=lambda p: p.name.replace("_", "~", 1)):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code" and (name := re.search(r"^#\| *default_exp (\w+)", cell.source, re.M)): found[name[1]] = path
    return found


def differing(before: Path, after: Path, files: list[Path]) -> list[Path]:
    return [f for f in files if not (after / f).exists() or not (before / f).exists() or (before / f).read_bytes() != (after / f).read_bytes()]


def modules_equal_notebooks():
    "A fresh export writes the very modules that are there, and git knows all of them."
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("settings.ini", "pyproject.toml"): shutil.copy(root / name, copy)
        shutil.copytree(nbs, copy / "nbs")
        (copy / "bijdiff").mkdir()
        for name in written_by_hand: shutil.copy(package / name, copy / "bijdiff")
        run("nbdev_export", cwd=copy)
        there, exported = ({p.relative_to(base) for p in (base / "bijdiff").glob("*.py")} for base in (root, copy))
        changed = differing(root, copy, sorted(there | exported))
        assert not changed, f"not what the notebooks export: {', '.join(map(str, changed))}: edit the notebook, then make export"
    if (root / ".git").exists():
        unknown = subprocess.run(["git", "ls-files", "--others", "--", "bijdiff/*.py"], cwd=root, text=True, capture_output=True).stdout.split()
        assert not unknown, f"modules that git does not know: {', '.join(unknown)}: git add them"
    return len(exported)


def notebooks_are_clean():
    "`nbdev_clean` would change no notebook."
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copy(root / "settings.ini", copy)
        shutil.copytree(nbs, copy / "nbs")
        run("nbdev_clean", cwd=copy)
        changed = differing(root, copy, all_notebooks())
    assert not changed, f"not clean: {', '.join(map(str, changed))}: make clean-notebooks"
    return len(all_notebooks())


def readme_is_rendered():
    "README.md is what `nbs/index.ipynb` renders."
    run("python", "tools/readme.py", "--check")


def imports_of(module: Path) -> set[str]:
    "The modules of the package that one of them imports, anywhere in its text."
    from bijdiff import _home
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import): found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("bijdiff.")}
        if not isinstance(node, ast.ImportFrom): continue
        source = ("bijdiff." if node.level else "") + (node.module or "")
        if source.strip(".") == "bijdiff": found |= {_home.get(name.name, name.name) for name in node.names if name.name != "__version__"}
        elif source.startswith("bijdiff."): found.add(source.split(".")[1])
    return found


def house_order():
    "Each module imports only from those above it."
    order = list(rooms())
    wrong = [f"{name} imports {other}" for i, name in enumerate(order) for other in sorted(imports_of(package / f"{name}.py")) if other not in order[:i]]
    assert not wrong, "from below in the list: " + "; ".join(wrong)
    return len(order)


def docstrings():
    "Every public function, class and method says what it is, a method perhaps in the text of its class; what a dataclass makes up does not count."
    missing, seen = [], 0
    for name in rooms():
        module = importlib.import_module(f"bijdiff.{name}")
        for public in module.__all__:
            thing = getattr(module, public)
            if getattr(thing, "__module__", None) != module.__name__: continue
            members = {} if not inspect.isclass(thing) else {
                k: getattr(thing, k) for k, v in vars(thing).items()
                if not k.startswith("_") and (inspect.isfunction(v) or isinstance(v, (property, classmethod, staticmethod)))}
            seen += 1 + len(members)
            if not (thing.__doc__ or "").strip() or thing.__doc__.startswith(f"{public}("): missing.append(f"{name}.{public}")
            told = " ".join(base.__doc__ or "" for base in thing.__mro__[:-1]) if members else ""
            missing += [f"{name}.{public}.{k}" for k, v in members.items() if not inspect.getdoc(v) and not re.search(rf"\b{k}\b", told)]
    assert not missing, "no docstring: " + ", ".join(missing)
    return seen


def lazy_names():
    "`import bijdiff` loads no torch, lets its threads sleep unless told otherwise, and every name that it hands on, and every module, is there."
    told = run("python", "-c", "import os; os.environ.pop('GOMP_SPINCOUNT', None); import bijdiff, torch", OMP_DISPLAY_ENV="verbose")
    assert "OPENMP DISPLAY ENVIRONMENT" not in told or "GOMP_SPINCOUNT = '10000'" in told, told
    assert run("python", "-c", "import bijdiff, os; print(os.environ['GOMP_SPINCOUNT'])", GOMP_SPINCOUNT="7").split() == ["7"]
    run("python", "-c", "import bijdiff, sys; assert 'torch' not in sys.modules, 'import bijdiff loads torch'; [getattr(bijdiff, n) for n in bijdiff.__all__]")
    run("python", "-c", "import bijdiff; bijdiff.orders.windowed(5); assert not hasattr(bijdiff, 'order')")


def notebook(path: Path, flags: list[str], threads: int):
    "One notebook runs top to bottom."
    run("nbdev_test", "--path", path, "--flags", " ".join(flags), "--n_workers", 0, **({"OMP_NUM_THREADS": str(threads)} if threads else {}))


def experiment(path: Path, threads: int):
    "Plain papermill runs an experiment for 20 steps, in a project of its own, and the run comes to its end."
    small = {"compare": "-p words 60 -p layers 1 -p width 32 -p heads 2 -p block_size 32 -p batch_size 8 -p seeds 2 -p eval_draws 1".split()}
    with tempfile.TemporaryDirectory() as folder:
        (out := Path(folder, "outputs", path.stem)).mkdir(parents=True)
        run("papermill", "--inject-output-path", "--no-progress-bar", path, out / path.name, "-p", "steps", 20, *small.get(path.stem, ()), cwd=folder, **({"OMP_NUM_THREADS": str(threads)} if threads else {}))
        result = "benchmark.json" if path.stem == "benchmark" else "summary.json"
        assert (out / result).exists(), f"{path.name} ended without a {result} in the folder of its output"


def parts(flags: list[str], threads: int) -> dict:
    "What to run, by name; the long ones first, so that two workers end together."
    long = {f"experiment {p.stem}": partial(experiment, p, threads) for p in sorted((nbs / "experiments").glob("*.ipynb"))}
    long |= {f"tutorial {p.stem}": partial(notebook, p, flags, threads) for p in sorted((nbs / "tutorials").glob("*.ipynb"))}
    long |= {f"room {p.stem}": partial(notebook, p, flags, threads) for p in reversed([nbs / "index.ipynb", *sorted(nbs.glob("[0-9]*.ipynb"))])}
    short = [modules_equal_notebooks, notebooks_are_clean, readme_is_rendered, house_order, docstrings, lazy_names]
    return {check.__name__.replace("_", " "): check for check in short} | long


def timed(name: str, check) -> tuple[str, int, str, float]:
    "Name, number of things checked, what failed, seconds."
    start, error, count = time.perf_counter(), "", 1
    try: count = check() or 1
    except Exception as e: error = str(e) if isinstance(e, AssertionError) else f"{type(e).__name__}: {e}"
    seconds = time.perf_counter() - start
    print(f"{'FAILED' if error else 'ok':6}  {seconds:6.1f} s  {name}" + (f"\n{error}" if error else ""), flush=True)
    return name, count, error, seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flags", nargs="*", metavar="FLAG")
    parser.add_argument("--only", default="", metavar="WORD")
    args = parser.parse_args()
    if unknown := set(args.flags) - {"slow", "cuda"}: parser.error(f"flag {unknown.pop()!r}: expected slow or cuda")
    # One thread each on as many workers as cores beats two threads on one worker; a GPU is for one notebook at a time.
    workers = 1 if "cuda" in args.flags else os.cpu_count() or 1
    start = time.perf_counter()
    todo = {name: check for name, check in parts(args.flags, 1 if workers > 1 else 0).items() if args.only in name}
    with ThreadPoolExecutor(workers) as pool: results = list(pool.map(timed, todo, todo.values()))
    print(f"\n{'part':32} {'checked':>7} {'seconds':>8}")
    for name, count, error, seconds in results:
        late = seconds > LIMITS.get(name.split()[0], float("inf"))
        print(f"{name:32} {count:7} {seconds:8.1f}" + ("  FAILED" if error else "") + (f"  over {LIMITS[name.split()[0]]} s" if late else ""))
    print(f"{'all, elapsed':32} {'':7} {time.perf_counter() - start:8.1f}\n")
    failed = sum(bool(error) for _, _, error, _ in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
