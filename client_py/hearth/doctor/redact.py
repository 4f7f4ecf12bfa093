"""Takes out of a text what is nobody else's business: for a bundle that is sent to strangers.

Left out are prompts and answers, keys and tokens, everything below home directories, names of users
and hosts, addresses, and the serial numbers of devices. In doubt more goes than must.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

# of JSON objects: what people wrote or were told
_SECRET_FIELDS = {
    "prompt", "text", "thinking", "messages", "content", "system", "answer", "token_ids",
    "prompt_token_ids", "json_schema", "regex", "stop", "result_key", "key", "instance",
}  # fmt: skip
_SECRET_LINES = re.compile(r'"event":\s*"prompt"|HEARTH_EVENT=prompt|\bprompt(?: of [^:]*)?:', re.I)
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [^-]*PRIVATE KEY-----.*?-----END [^-]*-----", re.S), "<key>"),
    (re.compile(r"\b(?:hf|sk|ghp|gho|ghs|pk|rk|glpat|xox[abp])[_-][\w-]{8,}"), "<token>"),
    (re.compile(r"\bgithub_pat_\w{10,}"), "<token>"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{12,}"), "<token>"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), "<token>"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.I), r"\1 <token>"),
    (
        re.compile(
            r"\b([\w-]*(?:token|secret|passw(?:or)?d|passphrase|api[_-]?key|authorization|cookie))"
            r"(\"?\s*[:=]\s*\"?)[^\s\",;]+",
            re.I,
        ),
        r"\1\2<secret>",
    ),
    (re.compile(r"(\w+://)[^/\s:@]+:[^/\s@]+@"), r"\1<secret>@"),
    (re.compile(r"\bGPU-[0-9a-f]{8}-[0-9a-f-]{20,}", re.I), "<gpu>"),
    (re.compile(r"^(\s*(?:Serial Number|GPU UUID|Board ID|GPU PDI)\s*:).*$", re.M), r"\1 <number>"),
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.I), "<address>"),
    (re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"), "<address>"),
    (re.compile(r"(?<![\d.])(?!127\.0\.0\.1\b)(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)"), "<address>"),
)
_HOMES = r"(?:/home/[^/\s\"']+|/root|/Users/[^/\s\"']+|/var/home/[^/\s\"']+)"


class Redactor:
    """Knows the names to look for.

    users, hosts: names; homes: folders besides /home, /root and /Users
    """

    def __init__(
        self, users: Iterable[str] = (), hosts: Iterable[str] = (), homes: Iterable[str] = ()
    ) -> None:
        own = [re.escape(home.rstrip("/")) for home in homes if home.strip("/")]
        folders = "|".join([*sorted(own, key=len, reverse=True), _HOMES])
        # A path may hold blanks: it ends at the last slash of its line, and the word behind that.
        self._home = re.compile(rf"(?:{folders})(?:/[^\n\"']*/)?(?:/?[^\s\"',;:)]*)")
        self._names = [
            (re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])", re.I), mark)
            for mark, names in (("<user>", users), ("<host>", hosts))
            for name in sorted(set(names), key=len, reverse=True)
            if len(name) > 1 and name not in ("root", "hearth", "localhost")
        ]

    def text(self, text: str) -> str:
        """A text of many lines. Lines that quote a prompt go whole."""
        kept = [line for line in text.split("\n") if not _SECRET_LINES.search(line)]
        return self._line("\n".join(self._json_line(line) for line in kept))

    def value(self, value: Any) -> Any:
        """What JSON is made of, by its fields' names and its strings."""
        if isinstance(value, dict):
            return {
                self._line(str(name)): "<left out>" if name in _SECRET_FIELDS else self.value(one)
                for name, one in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.value(one) for one in value]
        return self._line(value) if isinstance(value, str) else value

    def _json_line(self, line: str) -> str:
        if line.lstrip().startswith("{"):
            try:
                return json.dumps(self.value(json.loads(line)), ensure_ascii=False)
            except ValueError:
                pass
        return line

    def _line(self, text: str) -> str:
        text = self._home.sub("<home>", text)
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
        for pattern, mark in self._names:
            text = pattern.sub(mark, text)
        return text
