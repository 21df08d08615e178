"""The version of this release. CHANGELOG.md says what is in it."""

VERSION = "1.0.0"
