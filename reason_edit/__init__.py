"""What a benchmark sample and a rating is: the Reason-Edit schema, its files on disk, tables and Ins-align."""

__version__ = "0.1.0"
