"""The key behind which files hide shoppers' ids, as the settings of ingest and of the updaters name it."""

from features.pseudonyms import read_key
from services.common.settings import ServiceSettings, SettingsError


def pseudonym_key(settings: ServiceSettings) -> bytes | None:
    """The key; None where `pseudonym_key_file` names no file.

    Raises:
        SettingsError: the file cannot be read, or holds no key.
    """
    file = settings.file("pseudonym_key_file")
    if file is None:
        return None
    try:
        return read_key(file.path)
    except (ValueError, OSError) as error:
        raise SettingsError(f"{file.variable}: {error}") from error
