"""How the page looks. Nothing of it is fetched from elsewhere."""

from __future__ import annotations

import gradio as gr

# Plain names: gradio's own themes ask Google for theirs.
FONT = ('system-ui', '-apple-system', 'Segoe UI', 'Roboto', 'sans-serif')
MONOSPACE = ('ui-monospace', 'SFMono-Regular', 'Menlo', 'Consolas', 'monospace')

CSS = """
.gradio-container { width: 100% !important; max-width: 1500px !important;
  margin: 0 auto !important; }
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
.adm-pictures { display: grid; gap: 8px; margin-top: .75rem; overflow-x: auto;
  image-rendering: pixelated;
  grid-template-columns: repeat(auto-fill, minmax(min(9rem, 40%), 1fr)); }
.adm-pictures figure { margin: 0; min-width: 0; }
.adm-pictures a { display: block; }
.adm-pictures img, .adm-pictures span { display: block; width: 100%; aspect-ratio: auto 1;
  border-radius: 6px; margin: 0 0 3px !important; }
.adm-pictures span { background: var(--border-color-primary); opacity: .4; }
.adm-pictures figcaption { margin: 0 !important; font-size: .75rem; line-height: 1.25;
  text-align: center; text-wrap: balance; overflow-wrap: anywhere;
  color: var(--body-text-color-subdued); }

/* Three times, as gradio's own rules for fields take the outline away and say so twice. */
.gradio-container.gradio-container.gradio-container :focus-visible {
  outline: 2px solid var(--color-accent) !important; outline-offset: 2px; }
/* One tab stop for all classes: they are taken out by backspace, or with the pointer. */
@media (hover: hover) { #classes .token:not(:hover) .token-remove { visibility: hidden; } }
/* On a small screen the buttons stay at hand below whatever is read, and pictures have room. */
@media (max-width: 800px) {
  [id$=-view] { min-height: 75vh; scroll-margin-top: .5rem; }
  .gradio-container { padding-bottom: 4.5rem !important; }
  .gradio-container .main { padding: .75rem !important; }
  .gradio-container [role=tab] { padding: 0 .4rem; }
  #model input { text-overflow: ellipsis; padding-right: 1.5rem; }
  .adm-run { position: fixed; z-index: 20; inset: auto 0 0 0; padding: .6rem; flex-wrap: nowrap;
    background: var(--body-background-fill); border-top: 1px solid var(--border-color-primary); }
}
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
