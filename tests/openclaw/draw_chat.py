"""Draws a transcript of OpenClaw (the messages of its `chat.history`) as a chat: draw_chat.py TRANSCRIPT.json CHAT.svg

What is drawn is what was said: the person's message, each tool call with its arguments and the beginning of its result, and the answer.
"""

import json
import re
import sys
import textwrap
from html import escape

WIDTH, MARGIN, PAD, LINE, LETTER = 920, 28, 14, 21, 8.45
SHOWN = 96  # characters of a call or a result
FIRST = ["swarm_id", "status", "done", "text", "node", "nodes", "turns", "news"]


def text_of(content):
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if part.get("type") == "text")


def result_of(text):
    """The object in what a tool returned, on one line."""
    for match in re.finditer(r"\{", text):
        try:
            value, _ = json.JSONDecoder().raw_decode(text[match.start():])
        except ValueError:
            continue
        if value:
            return shortened(value)
    return text.strip().splitlines()[0][:SHOWN]


def shortened(value, shown=SHOWN):
    # What is said to the model about its next call is the least of it.
    value = dict(sorted(value.items(), key=lambda item: (item[0] == "next", (FIRST + [item[0]]).index(item[0]))))
    line = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    return line if len(line) <= shown else line[: shown - 1] + "…"


def items(messages):
    """The chat as (kind, lines)."""
    results = {}
    for message in messages:
        if message.get("role") == "custom":
            for part in message["content"]:
                if part.get("type") == "toolResult":
                    results[part.get("parentToolCallId")] = text_of(part["content"])
        if message.get("role") == "toolResult":
            results.setdefault(message.get("toolCallId"), text_of(message["content"]))
    for message in messages:
        role, content = message.get("role"), message.get("content", "")
        if role == "user":
            yield "user", re.sub(r"^\[[^\]]*\] ", "", text_of(content)).split("\n")
        if role != "assistant":
            continue
        for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
            if part.get("type") == "toolCall":
                name, arguments = part["name"], part["arguments"]
                if name == "tool_call":
                    name, arguments = arguments["id"], arguments.get("args", {})
                yield "tool", [name + " " + shortened(arguments, SHOWN - len(name)), "→ " + result_of(results.get(part["id"], ""))]
            elif part.get("text", "").strip():
                yield "assistant", part["text"].split("\n")


def draw(messages):
    y, shapes = MARGIN + 34, []
    head = '<text x="{}" y="{}" class="{}">{}</text>'
    shapes.append(head.format(MARGIN, MARGIN + 10, "head", "OpenClaw · main"))
    for kind, lines in items(messages):
        columns = 60 if kind == "user" else 100
        broken = [piece for line in lines for piece in (textwrap.wrap(line, columns) or [""])]
        height = len(broken) * LINE + 2 * PAD - 4
        width = min(WIDTH - 2 * MARGIN, max(len(line) for line in broken) * LETTER + 2 * PAD)
        x = WIDTH - MARGIN - width if kind == "user" else MARGIN
        shapes.append(f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{height}" rx="12" class="{kind}"/>')
        for at, line in enumerate(broken):
            style = f"{kind}-text" + (" result" if kind == "tool" and line.startswith("→") else "")
            shapes.append(head.format(round(x + PAD), y + PAD + 13 + at * LINE, style, escape(line)))
        y += height + 12
    style = """
      text { font-size: 14px; font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace }
      .back { fill: #12161d } .head { fill: #8b98a9; font-weight: bold }
      .user { fill: #2f6feb } .user-text { fill: #ffffff }
      .tool { fill: #1a212b; stroke: #2b3645 } .tool-text { fill: #d7a65f } .result { fill: #8b98a9 }
      .assistant { fill: #232c38 } .assistant-text { fill: #e6ebf2 }
    """
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + MARGIN - 12}" width="{WIDTH}" role="img" '
        f'aria-label="A chat with OpenClaw">\n<style>{style}</style>\n'
        f'<rect class="back" width="100%" height="100%" rx="14"/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


def main():
    _, transcript, picture = sys.argv
    with open(transcript, encoding="utf-8") as file:
        messages = json.load(file)
    with open(picture, "w", encoding="utf-8") as file:
        file.write(draw(messages))


if __name__ == "__main__":
    main()
