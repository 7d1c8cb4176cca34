"""Where public classes and functions say that they live."""


def publish(module: str, names: dict) -> None:
    """Let what a public module lists in `__all__` name that module as its own.

    So pickles of estimators, and the classes' own words, name modules that stay, whatever
    moves behind them.
    """
    for name in names["__all__"]:
        names[name].__module__ = module
