"""What to ask, ready to pick: for the nodes and for `hearth caption --preset`.

Plain texts by the names under which they are picked. A name stands in saved workflows: it is not
changed, and new ones are added at the end.
"""

from __future__ import annotations

# Questions about pictures and videos.
QUESTIONS: dict[str, str] = {
    "Describe": "Describe this picture.",
    "Describe in detail": "Describe this picture in detail: the subject, the setting, the light,"
    " the colours, the composition and the mood.",
    "One sentence": "Say in one short sentence what this picture shows.",
    "Image prompt": "Write one paragraph from which an image generator could make this picture"
    " again: subject, style, medium, light, colours and framing, and nothing that cannot be seen.",
    "Tags": "List what can be seen as short comma-separated tags, the most important first.",
    "Read the text": "Write down all text in this picture exactly as it stands, line by line, and"
    " nothing else.",
    "Count and place": "List every object in this picture with its colour, how many of it there are"
    " and where it is.",
    "Style": "Name the medium, the style, the light and the palette of this picture, and what"
    " shows them.",
    "Compare": "Say what these pictures have in common and what differs, one point a line.",
    "Training caption": "Write a caption of this picture for the training of an image generator:"
    " one plain paragraph that names everything visible, without opinion, without guesses and"
    " without the words picture, image or photo at its beginning.",
    "People": "Describe each person in this picture: apparent age, build, hair, face, clothing,"
    " pose, gaze and what they do. Guess no names.",
    "Composition": "Explain how this picture is built: viewpoint, framing, lens, depth, lines,"
    " balance and where the eye goes first.",
    "Light and colour": "Describe the light of this picture (where it comes from, hard or soft, its"
    " colour) and its palette, with the main colours as hex values.",
    "Find objects": "Find every distinct object. Answer with a JSON list only; each item has"
    ' "bbox_2d": [left, top, right, bottom] and "label".',
    "Short story": "Tell a story of about 150 words that this picture could belong to.",
    "Summarise the video": "Say what happens in this video, in order, in a few sentences.",
    "Video prompt": "Write one paragraph from which a video generator could make this video again:"
    " subject, setting, what moves and how, the camera's movement, light and style.",
    "Video, step by step": "List what happens in this video, each step with the second at which it"
    " begins.",
}

# How a prompt is rewritten. Each text goes after ENHANCER.
STYLES: dict[str, str] = {
    "Detailed": "Enrich it: subject, surroundings, light, colours, materials, mood and framing, in"
    " one flowing paragraph of 60 to 120 words.",
    "Photograph": "Make it a photograph: what stands where, the time of day, the light, lens and"
    " aperture, distance, depth of field, film or sensor, and honest small flaws."
    " Nothing that no camera could see.",
    "Cinematic": "Make it a still from a film: shot size, camera height, lens, staging, motivated"
    " light, colour grade, atmosphere and the moment of the story.",
    "Illustration": "Make it an illustration: medium, line, shapes, palette, texture, composition"
    " and the tradition it comes from, without the name of a living artist.",
    "Anime": "Make it a frame of an animated film from Japan: character design, expression, pose,"
    " line weight, cel shading, background painting and light.",
    "Product": "Make it a product shot: the object and its materials, surface, background, light"
    " set-up, reflections, angle and what in it is sharp.",
    "Portrait": "Make it a portrait: the person's features, expression, gaze, hair, clothing, pose,"
    " background, and how the light shapes the face.",
    "Landscape": "Make it a landscape: foreground, middle and distance, weather, season, hour,"
    " light, scale and viewpoint.",
    "Architecture": "Make it a view of architecture: building, materials, structure, surroundings,"
    " viewpoint, straight verticals, light and the people who give the scale.",
    "Concept art": "Make it concept art: the idea in one clear silhouette, world, materials, scale,"
    " light, palette, and what tells how things there work.",
    "Tags": "Turn it into comma-separated tags, the most important first, at most 40, each at most"
    " three words, no sentences.",
    "Concise": "Say the same in at most 30 words: keep every fact, drop every filler.",
    "Video prompt": "Make it a prompt for a video of a few seconds: the first frame, what moves and"
    " how, how the camera moves, what stays still, light and style, in the order of time.",
    "Image edit": "Turn it into an instruction for an image editor: what changes, how it looks"
    " afterwards, and what must stay as it is.",
    "Correct": "Correct its spelling and grammar and make it clear. Add nothing and drop nothing.",
    "Translate": "Translate it faithfully. Add nothing and drop nothing.",
    "Own instruction": "",
}

ENHANCER = (
    "You rewrite prompts for image and video generators. Keep what the user asks for: subjects,"
    " numbers, names, quoted text and places stay as they are. Answer with the rewritten prompt"
    " only: no heading, no quotation marks, no explanation."
)

# What the answer is written in; the empty text says nothing about it.
LANGUAGES: dict[str, str] = {
    "as the prompt": "",
    "English": "Write in English.",
    "Chinese": "Write in simplified Chinese.",
    "French": "Write in French.",
    "German": "Write in German.",
    "Italian": "Write in Italian.",
    "Japanese": "Write in Japanese.",
    "Korean": "Write in Korean.",
    "Portuguese": "Write in Portuguese.",
    "Russian": "Write in Russian.",
    "Spanish": "Write in Spanish.",
}
