"""Bijective discrete diffusion language models. Names and modules are handed on lazily: `import bijdiff` loads no torch."""

import os
from importlib import import_module
from importlib.util import find_spec

__version__ = "0.1.0"

# Threads of torch that have nothing to do spin for so many turns before they sleep. By default they spin for so long that beside other work on the same cores each step takes many times as long.
# It is read when torch is loaded, and handed on to kernels and workers.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_home = {
    "BijectiveDenoiser": "denoiser", "ResidualDenoiser": "denoiser", "DenoiserConfig": "denoiser",
    "Lattice": "lattice", "Chain": "chain",
    "load_corpus": "corpus", "nelbo": "objective", "evaluate": "metrics", "check_invertibility": "invertibility",
    "sample": "sampler", "denoise": "sampler", "Trace": "sampler",
    "train": "trainer", "TrainConfig": "trainer",
    "list_runs": "sweep", "compare_runs": "sweep",
    "DenoisingPlayer": "dashboard",
}
__all__ = sorted(_home)


def __getattr__(name):
    if name in _home: value = globals()[name] = getattr(import_module(f".{_home[name]}", __name__), name)
    elif not name.startswith("_") and find_spec(f"{__name__}.{name}"): value = import_module(f".{name}", __name__)
    else: raise AttributeError(f"module {__name__!r} has no attribute {name!r}: it hands on {', '.join(__all__)}, and its modules")
    return value


def __dir__(): return sorted({*globals(), *__all__})
