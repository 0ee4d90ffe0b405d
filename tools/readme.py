"""Render README.md from nbs/index.ipynb: python tools/readme.py [--check]

Markdown and outputs stay, code that a reader would run stays, cells that begin with `#| hide` go, and of those that begin with `#| echo: false` the code. A figure that the notebook draws is
written to `nbs/images/`. Links relative to the notebook become relative to the root.
"""
import argparse
import posixpath
import re
import sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

root = Path(__file__).resolve().parent.parent


def from_root(link: re.Match) -> str:
    "A Markdown link that is relative to `nbs/`, relative to the root instead."
    return f"]({posixpath.normpath('nbs/' + link[1])})"


def render() -> dict[Path, bytes]:
    "The text of README.md and the figures that it shows, by path from the root of the project."
    notebook = nbformat.read(root / "nbs/index.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not cell.source.startswith("#| hide")]
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}): output["data"].pop("text/plain", None)
    text, resources = MarkdownExporter().from_notebook_node(notebook, resources={"output_files_dir": "images", "unique_key": "index"})
    text = re.sub(r"\n```\w*\n#\| echo: false\n.*?\n```\n", "", text, flags=re.S)
    text = re.sub(r"\]\((?![a-z]+:|#)([^)]+)\)", from_root, text).strip() + "\n"
    return {Path("README.md"): text.encode(), **{Path("nbs", name): data for name, data in resources["outputs"].items()}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if README.md is not what would be written")
    check = parser.parse_args().check
    for path, data in render().items():
        file = root / path
        if file.exists() and file.read_bytes() == data: continue
        if check: sys.exit(f"{path} is not what nbs/index.ipynb renders: run make readme")
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
        print("wrote", path)
