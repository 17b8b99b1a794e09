"""How the page looks. Nothing of it is fetched from elsewhere."""

from __future__ import annotations

import gradio as gr

# Plain names: gradio's own themes ask Google for theirs.
FONT = ('system-ui', '-apple-system', 'Segoe UI', 'Roboto', 'sans-serif')
MONOSPACE = ('ui-monospace', 'SFMono-Regular', 'Menlo', 'Consolas', 'monospace')

CSS = """
.gradio-container { max-width: 1500px !important; margin: 0 auto !important; }
.adm-title h1 { font-size: 1.35rem; margin: 0; }
.adm-title p { margin: 0; color: var(--body-text-color-subdued); }
.adm-hint { font-size: .8rem; line-height: 1.35; color: var(--body-text-color-subdued); }
.adm-buttons { align-items: end; }
#about, #hint { margin: -.4rem 0; }

.adm-status { padding: .45rem .75rem; border-radius: 6px; font-size: .9rem;
  background: var(--background-fill-secondary); color: var(--body-text-color-subdued);
  overflow-wrap: anywhere; }
.adm-status.error { background: color-mix(in srgb, #dc2626 12%, transparent);
  color: var(--body-text-color); border-left: 3px solid #dc2626; }

.adm-text { font-size: .9rem; font-variant-numeric: tabular-nums; margin-bottom: .35rem; }
.adm-bar { height: 6px; border-radius: 3px; background: var(--border-color-primary); }
.adm-bar div { height: 100%; border-radius: 3px; background: var(--color-accent);
  transition: width .15s linear; }
.adm-pictures { display: grid; gap: 8px; margin-top: .75rem;
  grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); }
.adm-pictures > * { width: 100%; aspect-ratio: 1; border-radius: 6px; }
.adm-pictures span { background: var(--border-color-primary); opacity: .4; }
.adm-pictures.small img { image-rendering: pixelated; }

.adm-gallery .grid-wrap { height: auto; min-height: 0; max-height: none; overflow: visible; }
.adm-gallery .grid-container {
  grid-template-columns: repeat(var(--grid-cols), minmax(0, 1fr)); gap: 8px; }
.adm-gallery .gallery-item .thumbnail-item { display: flex; flex-direction: column; height: auto;
  aspect-ratio: auto; background: none; border: none; box-shadow: none; overflow: visible; }
.adm-gallery .gallery-item img { width: 100%; height: auto; border-radius: 6px; }
.adm-gallery .gallery-item .caption-label { position: static; max-width: 100%; padding: 3px 0;
  white-space: normal; text-wrap: balance; text-align: center; font-size: .75rem;
  line-height: 1.25; border: none;
  background: none; color: var(--body-text-color-subdued); }
footer { display: none !important; }
"""


def theme() -> gr.themes.Base:
    """Quiet, in light and in dark."""
    return gr.themes.Base(
        primary_hue='indigo',
        neutral_hue='slate',
        spacing_size='sm',
        radius_size='md',
        font=FONT,
        font_mono=MONOSPACE,
    ).set(
        body_background_fill='*neutral_50',
        body_background_fill_dark='*neutral_950',
        block_background_fill='white',
        block_background_fill_dark='*neutral_900',
        block_border_width='1px',
        block_label_text_weight='500',
    )
