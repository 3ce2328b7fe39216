"""Commands kept in memory, so that followers are not served from the disk."""

from collections import OrderedDict

CACHE_SIZE_MAX = 64 << 20


class CommandCache:
    """Durable commands by index; those asked for longest ago are let go first."""

    def __init__(self) -> None:
        self._commands: OrderedDict[int, bytes] = OrderedDict()
        self._size = 0

    def get(self, index: int) -> bytes | None:
        """Return a command, or None."""
        command = self._commands.get(index)
        if command is not None:
            self._commands.move_to_end(index)
        return command

    def put(self, index: int, command: bytes, size_beside: int) -> None:
        """Keep a command that is not kept yet.

        Args:
            index: Its place in the log.
            command: Shared, not copied.
            size_beside: What else is in memory and counts against the same bound.
        """
        self._commands[index] = command
        self._size += len(command)
        while self._commands and self._size + size_beside > CACHE_SIZE_MAX:
            _, gone = self._commands.popitem(last=False)
            self._size -= len(gone)

    def drop(self, indexes: range) -> None:
        """Forget the commands of a range."""
        few = len(indexes) < len(self._commands)
        for index in indexes if few else [kept for kept in self._commands if kept in indexes]:
            self._size -= len(self._commands.pop(index, b""))
