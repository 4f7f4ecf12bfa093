"""What the choices of other packs are called here."""

from __future__ import annotations

PRECISIONS = {
    "None (FP16)": "auto",
    "8-bit (Balanced)": "int8 (8 bit)",
    "4-bit (VRAM-friendly)": "int4 (4 bit)",
    "none": "auto",
    "8bit": "int8 (8 bit)",
    "4bit": "int4 (4 bit)",
}
ATTENTIONS = {
    "auto": "auto",
    "sage": "auto",
    "flash_attention_2": "flash",
    "sdpa": "sdpa",
    "eager": "eager",
}
QUESTIONS = {
    "🖼️ Tags": "Tags",
    "🖼️ Simple Description": "One sentence",
    "🖼️ Detailed Description": "Describe in detail",
    "🖼️ Ultra Detailed Description": "Training caption",
    "🎬 Cinematic Description": "Composition",
    "🖼️ Detailed Analysis": "Count and place",
    "📹 Video Summary": "Summarise the video",
    "📖 Short Story": "Short story",
    "🪄 Prompt Refine & Expand": "Image prompt",
}
STYLES = {
    "📝 Enhance": "Detailed",
    "📝 Refine": "Concise",
    "📝 Creative Rewrite": "Concept art",
    "📝 Detailed Visual": "Photograph",
    "📝 Artistic Style": "Illustration",
    "📝 Technical Specs": "Tags",
}
# Of a node of ours: what a browser that replaces a node copies into a choice, as it stood there.
CHOICES = {
    "precision": PRECISIONS,
    "attention": ATTENTIONS,
    "preset_prompt": QUESTIONS,
    "style": STYLES,
}
OWNERS = {"SkyCaptioner-V1": "Skywork/SkyCaptioner-V1"}  # of models that we do not list
