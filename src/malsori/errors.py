"""Every error that malsori raises on purpose, in one family.

A message carries four things: the value, the place, what is accepted, what to do. The command line prints the
message alone and leaves with status 2 for these (the input is at fault) and 1 for any other (we are).
"""


class MalsoriError(Exception):
    """Something the caller gave cannot be used; the message says what, where and what to do."""


class ConfigError(MalsoriError):
    """A recipe or a config has an unknown, missing or mistyped key."""


class FileError(MalsoriError, OSError):
    """A file cannot be written: a full disk, no permission, a name too long, a file where a folder should be."""


class TextError(MalsoriError):
    """A text holds a character that cannot be read; names it with code point and position."""


class AudioError(MalsoriError):
    """A sound file is missing, empty, damaged or of an unusable kind."""


class SoundWarning(UserWarning):
    """A sound file holds less than it should, and what is there was read: names the file and what is missing."""


class CorpusError(MalsoriError):
    """A corpus folder is not what it should be."""


class ClusterError(MalsoriError):
    """A cluster's machines cannot do what they are asked: another version, a path that they do not see, lost again."""


class AlignmentError(MalsoriError):
    """A text cannot be laid over a sound: too short, or of no overlap."""


class ModelError(MalsoriError):
    """A saved model is missing, incomplete, or does not fit the parts it is used with."""


class DeviceError(MalsoriError):
    """A device, a precision or a number of threads was asked for that this machine does not have."""


class TrainingError(MalsoriError):
    """A run cannot start or go on as asked."""


class MetricError(MalsoriError):
    """Two things cannot be compared by a metric: unequal counts, silence, different rates."""


class OptionError(MalsoriError):
    """An option of a call is out of its bounds, or the system that it is asked of does not have it."""


class BatchError(MalsoriError):
    """Some of many files could not be worked through; each was told, and the others are done."""


class MissingExtraError(MalsoriError):
    """A command needs a package that only an extra of malsori installs; the message says which."""
