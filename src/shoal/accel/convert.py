"""`from_sklearn`: an estimator of scikit-learn's as one of ours."""

from typing import Any

from shoal.accel.table import pairs


def from_sklearn(estimator: Any) -> Any:
    """scikit-learn's estimator as one of shoal's, with parameters and what was fitted.

    Parameters
    ----------
    estimator : object
        An estimator of one of the classes that shoal has too, fitted or not.

    Returns
    -------
    estimator : object
        Of shoal's class of the same name. It shares its arrays with the one given, but for
        those that fitting on changes in place. Its method `to_sklearn` is the way back. An
        HDBSCAN has its trees, but must be fitted to predict.

    Raises
    ------
    TypeError
        If shoal has no such class.

    Examples
    --------
    >>> import numpy as np
    >>> import shoal
    >>> from sklearn.cluster import KMeans
    >>> fitted = KMeans(2, random_state=0).fit(np.eye(4))
    >>> shoal.from_sklearn(fitted).predict(np.eye(4)) == fitted.labels_
    array([ True,  True,  True,  True])
    """
    for pair in pairs():
        if pair.is_class and type(estimator) in (pair.theirs, pair.ours):
            if type(estimator) is pair.ours:
                return estimator
            return pair.ours._from_sklearn(estimator)
    kind = type(estimator)
    raise TypeError(f"shoal has no {kind.__module__}.{kind.__qualname__}: it is left as it is")
