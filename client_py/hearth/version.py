"""The version of this package. The repository's VERSION file says the same; a test compares."""

VERSION = "0.1.0"
