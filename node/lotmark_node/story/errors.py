"""What telling the story raises."""


class StoryFailed(Exception):
    """Something in the story did not go as it must; the message says what."""
