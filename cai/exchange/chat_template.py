"""The prompt of ``cai.markup`` as a Jinja template, for programs that make prompts of messages."""

# What was said before the last question is left out: the models have learned single questions. No loops with state and
# filters of the plainest kind alone, which llama.cpp's own reader of Jinja has too; and as every line trims what is around
# it, nothing depends on how a program sets up blocks.
CHAT_TEMPLATE = r"""
{%- set questions = messages | selectattr("role", "equalto", "user") | list -%}
{%- set given = messages | selectattr("role", "equalto", "document") | list -%}
{%- if not questions -%}{{- raise_exception("a message of the role user must ask the question") -}}{%- endif -%}
{{- "[QUESTION]\n" + questions[-1].content + "\n[/QUESTION]\n\n" -}}
{%- if documents -%}
{{- "[DOC]\n" + (documents | map(attribute="text") | join("\n")) + "\n[/DOC]\n\n" -}}
{%- elif given -%}
{{- "[DOC]\n" + (given | map(attribute="content") | join("\n")) + "\n[/DOC]\n\n" -}}
{%- endif -%}
{%- if messages[-1].role == "assistant" -%}
{{- "[ANSWER]\n" + messages[-1].content + "\n[/ANSWER]" -}}
{%- elif add_generation_prompt -%}
{{- "[ANSWER]\n요약:\n-" -}}
{%- endif -%}
""".strip()
"""The last message of the role ``user`` is the question. A document comes by messages of the role ``document``, or by
``documents=[{"text": ...}]``. At the end stands what a model goes on from, or the answer of a last message of ``assistant``.
"""
