"""Training runs that are looked at, during and after: a table of many, plots and a page of some."""
