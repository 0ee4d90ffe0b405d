"""Everything about the package stands in settings.ini; the wheel also carries the experiment notebooks and the widgets' scripts."""
from configparser import ConfigParser
from pathlib import Path
from shutil import copy2

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

here = Path(__file__).parent
parser = ConfigParser(delimiters=["="])
parser.read(here / "settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]


class BuildWithNotebooks(build_py):
    "Copy `nbs/experiments/*.ipynb` into the built package as `bijdiff/_notebooks`, and its `static` files; an editable install uses them where they are."

    def run(self):
        super().run()
        if self.editable_mode: return
        for folder, pattern in (("_notebooks", "nbs/experiments/*.ipynb"), ("static", "bijdiff/static/*")):
            target = Path(self.build_lib, cfg["lib_path"], folder)
            self.mkpath(str(target))
            for file in sorted(here.glob(pattern)): copy2(file, target / file.name)


setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    keywords=cfg["keywords"],
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    license="Apache-2.0",
    url=cfg["git_url"],
    classifiers=["Development Status :: 3 - Alpha", "Intended Audience :: Science/Research",
                 "Topic :: Scientific/Engineering :: Artificial Intelligence"]
                + [f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)],
    python_requires=f">={cfg['min_python']}",
    packages=find_packages(include=[cfg["lib_path"], cfg["lib_path"] + ".*"]),
    include_package_data=False,
    install_requires=cfg["requirements"].split(),
    extras_require={"dev": cfg["dev_requirements"].split(), "eval": ["transformers", "lm-eval", "mauve-text"], "eight-bit": ["torchao"]},
    entry_points={"console_scripts": cfg["console_scripts"].split()},
    cmdclass={"build_py": BuildWithNotebooks},
    zip_safe=False,
)
