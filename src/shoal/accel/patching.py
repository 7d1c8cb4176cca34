"""patch and unpatch: methods of scikit-learn's classes, and its functions wherever they are.

Of the hdbscan package, if that is asked for, the functions that find spanning trees.
"""

import functools
import inspect
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import sklearn

from shoal.accel import workers
from shoal.accel.calls import CALLS, LOGGER
from shoal.accel.dispatch import Function, Method
from shoal.accel.table import match, methods, pairs
from shoal.core.releases import NEWEST, release_of

_ABSENT = object()


class Replacement(NamedTuple):
    """A method of a class, or a function, and what stands in its place."""

    cls: type | None  # None: a function, to be replaced in all modules
    name: str
    original: Callable
    wrapper: Callable


@functools.cache
def replacements() -> list[Replacement]:
    """All that is replaced. First asked for while nothing is."""
    found = []
    for pair in pairs():
        if pair.is_class:
            for name, original, signature in methods(pair):
                wrapper = Method(pair, name, original, signature).wrapper()
                found.append(Replacement(pair.theirs, name, original, wrapper))
        elif pair.obstacle is None:
            signature = match(pair.theirs, pair.ours)
            wrapper = Function(pair.name, pair.theirs, pair.ours, signature).wrapper()
            found.append(Replacement(None, pair.name, pair.theirs, wrapper))
    return found


class _Patch:
    """Whether a package is patched: by `patch`, or by those within `patched`.

    Parameters
    ----------
    package : str
        Its module.
    child_call : str
        The function of `shoal.accel` by which processes that start do as this one.
    replacements : callable
        Gives what is replaced.
    """

    def __init__(
        self, package: str, child_call: str, replacements: Callable[[], list[Replacement]]
    ) -> None:
        self.package, self.child_call, self.replacements = package, child_call, replacements
        self.lock = threading.RLock()
        self.wanted = False  # by patch()
        self.users = 0  # threads within patched()
        self.applied = False
        self.own: dict[tuple, Any] = {}  # what classes themselves had under a name

    def want(self, wanted: bool) -> None:
        """What `patch` and `unpatch` ask for."""
        with self.lock:
            if wanted:
                self.replacements()  # which fails where the package is missing
            self.wanted = wanted
            self._update()

    @contextmanager
    def use(self) -> Iterator[None]:
        """A block of `patched`."""
        with self.lock:
            self.replacements()
            self.users += 1
            self._update()
        try:
            yield
        finally:
            with self.lock:
                self.users -= 1
                self._update()

    def _update(self) -> None:
        """Replace or restore. The lock is held."""
        wanted = self.wanted or self.users > 0
        if wanted == self.applied:
            return
        self.change(wanted)
        workers.tell_children(self.child_call, wanted)
        self.applied = wanted
        version = getattr(sys.modules[self.package], "__version__", "")
        LOGGER.info("%s %s is %s", self.package, version, "patched" if wanted else "itself")

    def change(self, wanted: bool) -> None:
        """Replace methods of classes and functions, or restore them."""
        self._change_classes(wanted)
        _exchange_functions(self.replacements(), wanted)

    def _change_classes(self, wanted: bool) -> None:
        for cls, name, _, wrapper in self.replacements():
            if cls is None:
                continue
            if wanted:
                self.own[cls, name] = vars(cls).get(name, _ABSENT)
                setattr(cls, name, wrapper)
            elif vars(cls).get(name) is wrapper:  # else someone patched over it since
                own = self.own.pop((cls, name))
                if own is _ABSENT:
                    delattr(cls, name)
                else:
                    setattr(cls, name, own)


class _ScikitLearn(_Patch):
    """It tells of releases that are newer, and of what the user had imported before."""

    def change(self, wanted: bool) -> None:
        if wanted:
            _warn_if_newer()
        self._change_classes(wanted)
        names = _exchange_functions(self.replacements(), wanted)
        if wanted:
            CALLS.names = [name for name in names if not name.startswith("sklearn.")]
        for name in CALLS.names if wanted else ():
            LOGGER.info("%s was imported before and is changed too", name)


@functools.cache
def _package_replacements() -> list[Replacement]:
    from shoal.accel.package import tree_functions  # imports hdbscan

    return [Replacement(None, old.__name__, old, new) for old, new in tree_functions()]


_scikit_learn = _ScikitLearn("sklearn", "patch", replacements)
_hdbscan = _Patch("hdbscan", "patch_hdbscan", _package_replacements)


def _exchange_functions(replacements: list[Replacement], wanted: bool) -> list[str]:
    """Put wrappers in the place of functions in every module, or the other way round.

    Returns the full names that were changed.
    """
    functions = [(r.original, r.wrapper) for r in replacements if r.cls is None]
    new = {id(old): new for old, new in (functions if wanted else ((w, o) for o, w in functions))}
    changed = []
    for module_name, module in list(sys.modules.items()):
        if not inspect.ismodule(module) or module_name.startswith("shoal."):
            continue
        names = vars(module)
        for name, value in list(names.items()):
            if id(value) in new:
                names[name] = new[id(value)]
                changed.append(f"{module_name}.{name}")
    return sorted(changed)


@functools.cache
def _warn_if_newer() -> None:
    if release_of(sklearn.__version__) > NEWEST:
        warnings.warn(
            f"shoal knows scikit-learn up to {'.'.join(map(str, NEWEST))} and this is "
            f"{sklearn.__version__}: what has another signature there is left to scikit-learn",
            stacklevel=5,
        )


def patch(*, hdbscan: bool = False) -> None:
    """Let scikit-learn's estimators and functions compute by shoal's kernels.

    Classes stay scikit-learn's: `isinstance`, subclasses, pickles, `clone`, pipelines and
    searches work as before, fitted estimators are scikit-learn's own, and what was imported
    before is changed too. What shoal does not do (parameters, kinds of arrays, subclasses with
    their own internals) scikit-learn does as before; :func:`report` tells what ran where.
    Processes started from now on by multiprocessing and joblib are patched too. Calling it
    again changes nothing.

    Parameters
    ----------
    hdbscan : bool, default=False
        Whether the hdbscan package (``hdbscan.HDBSCAN``) finds spanning trees by shoal too: for
        Euclidean rows and ``alpha=1``, the exact tree. Clusters, attributes and predictions are
        that package's own work. Where distances tie, several trees are the shortest, on which
        some labels may depend, as on the order of the rows.

    Raises
    ------
    ImportError
        If the hdbscan package is wanted and missing.

    See Also
    --------
    unpatch : The end of it.
    patched : For the time of a block.

    Examples
    --------
    >>> import numpy as np
    >>> import shoal
    >>> from sklearn.cluster import KMeans
    >>> shoal.patch()
    >>> KMeans(2, random_state=0).fit(np.eye(4)).labels_.dtype
    dtype('int32')
    >>> shoal.unpatch()
    """
    if hdbscan:
        _hdbscan.want(True)
    _scikit_learn.want(True)


def patch_hdbscan() -> None:
    """What processes are told to do where the hdbscan package is patched."""
    patch(hdbscan=True)


def unpatch() -> None:
    """Make scikit-learn and hdbscan itself again; where they are not patched, this does nothing.

    Within :func:`patched` it is so at the end of the block.

    Examples
    --------
    >>> import shoal
    >>> shoal.unpatch()
    """
    _scikit_learn.want(False)
    _hdbscan.want(False)


@contextmanager
def patched(*, hdbscan: bool = False) -> Iterator[None]:
    """A block within which scikit-learn is patched, in all threads.

    Parameters
    ----------
    hdbscan : bool, default=False
        Whether the hdbscan package is too, as by :func:`patch`.

    Returns
    -------
    context : context manager
        At its end scikit-learn is as it was before, once no other thread is in such a block.

    Examples
    --------
    >>> import numpy as np
    >>> import shoal
    >>> from sklearn.cluster import DBSCAN
    >>> with shoal.patched():
    ...     labels = DBSCAN(eps=2, min_samples=1).fit_predict(np.eye(3))
    >>> labels
    array([0, 0, 0])
    """
    with _hdbscan.use() if hdbscan else nullcontext(), _scikit_learn.use():
        yield


def is_patched() -> bool:
    """Whether scikit-learn is patched now."""
    return _scikit_learn.applied
