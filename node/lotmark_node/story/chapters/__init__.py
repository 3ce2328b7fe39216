"""The story's chapters: a module is one, told in the order of the modules' names.

It has a ``TITLE`` of one or two words and ``run(stage)``, which lets the chapter happen and returns
what to tell of it: `lotmark_node.story.play.Chapter`. Figures come from what happened. What is not
as it must be raises `StoryFailed`. A fact for the last line goes into ``stage.facts``.
"""
