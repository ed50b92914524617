"""Writers of the public data sets' layouts, one module a data set."""
