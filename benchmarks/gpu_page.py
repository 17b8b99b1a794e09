"""What on_gpu.py has found, as a section of docs/performance.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmagic_adm.version import __version__

BEGIN, END = '<!-- Made by benchmarks/on_gpu.py. -->', '<!-- End of what it made. -->'


def markdown(results: dict[str, Any]) -> str:
    """The results as a section of docs/performance.md."""
    sections = [BEGIN, '## On a GPU']
    steps = {size: results.get(f'steps_{size}', {}) for size in ('64', '256')}
    steps = {size: found for size, found in steps.items() if found.get('costs')}
    for size, found in steps.items():
        if size == next(iter(steps)):
            sections.append(
                f'Of {found["device"]}, with mmagic-adm {__version__}, random weights and all of '
                "`python benchmarks/on_gpu.py`. *Plain* is eager code as the original's, in "
                'float16. *Of product* is the share of the rate of an 8192x8192 bfloat16 product '
                f"on the same card, {found['product_rate'] / 1e12:.0f} TFLOP/s, that a U-Net's "
                'call reaches, and a guided step. *GiB* is what a step needs at one time, *held* '
                'what the allocator took for it. Errors are relative, to float32 on the CPU.'
            )
        sections += [f'### A guided step of {size}x{size}', step_table(found)]
        compiled = results.get(f'compile_{size}', {}).get('both')
        again = [cost['first'] for cost in found['costs'] if cost['way'] == 'fast']
        if compiled and again:
            sections.append(
                f'Compiling both networks took {compiled:.0f} s, and {again[0]:.0f} s in another '
                'process later, which found the code.'
            )
        if 'loop' in found:
            whole, share = found['loop']['seconds'], found['loop']['share']
            sections.append(
                f'`infer` with {found["loop"]["steps"]} steps takes {whole:.2f} s, of which '
                f"{share:.1%} is not the steps' networks."
            )
    if 'ours' in results.get('training', {}):
        sections.append(training_section(results['training']))
    if results.get('tuning', {}).get('rows'):
        sections.append(tuning_section(results['tuning']['rows']))
    if 'parts' in results.get('evaluation', {}):
        sections.append(evaluation_section(results['evaluation'], steps.get('64', {})))
    if 'summary' in results.get('tests', {}):
        sections.append(f'The tests that need a GPU: {" ".join(results["tests"]["summary"])}')
    return '\n\n'.join([*sections, END, ''])


def step_table(found: dict[str, Any]) -> str:
    """What a guided step costs."""
    costs, rate = found['costs'], found['product_rate']
    plain = costs[0]['step'] / costs[0]['batch_size']
    rows = [
        [
            cost['way'],
            cost['batch_size'],
            f'{cost["step"] * 1e3:.1f}',
            f'{plain / (cost["step"] / cost["batch_size"]):.2f}',
            f'{cost["batch_size"] / cost["step"] / 25:.2f}',
            f'{found["flop_of_a_call"] * cost["batch_size"] / cost["call"] / rate:.0%}',
            f'{found["flop_of_a_step"] * cost["batch_size"] / cost["step"] / rate:.0%}',
            '' if cost['gib'] is None else f'{cost["gib"]:.1f}',
            '' if cost['held'] is None else f'{cost["held"]:.1f}',
            f'{cost["eps_error"]:.1e}',
            '' if cost['gradient_error'] is None else f'{cost["gradient_error"]:.1e}',
        ]
        for cost in costs
    ]
    head = ['', 'batch', 'ms a step', 'x plain', 'images/s (25 steps)', 'of product: call', 'step']
    return table([*head, 'GiB', 'held', 'error', 'of the gradient'], rows)


def training_section(found: dict[str, Any]) -> str:
    """Images a second in training."""
    memory = f', with {found["gib"]:.1f} GiB at the peak' if 'gib' in found else ''
    return (
        '### Training\n\n'
        f'The 64x64 network in bfloat16, a batch of {found["batch_size"]}: {found["ours"]:.1f} '
        f'images a second on the runner, {found["plain"]:.1f} in a plain loop{memory}. The loader '
        f'alone gives {found["loader"]:.0f} images a second with {found["workers"]} workers.'
    )


def tuning_section(rows: list[dict[str, Any]]) -> str:
    """Memory of fine-tuning."""
    cells = [
        [
            row['batch_size'],
            'computed again' if row['use_checkpoint'] else 'kept',
            f'{row["peak"]:.1f}',
            f'{row["seconds"]:.2f}',
        ]
        for row in rows
    ]
    lines = table(['batch', 'activations', 'GiB at the peak', 's an iteration'], cells)
    return f'### Fine-tuning the 256x256 network\n\n{lines}'


def evaluation_section(found: dict[str, Any], steps: dict[str, Any]) -> str:
    """What an evaluation takes beside its networks."""
    outside = sum(found['parts'].values())
    text = (
        f'### Evaluation\n\nBeside its networks, an evaluation of {found["samples"]} samples '
        f'against {found["references"]} images takes {outside:.1f} s'
    )
    if not steps:
        return f'{text}.'
    rate = max(cost['batch_size'] / cost['step'] / 25 for cost in steps['costs'])
    networks = found['samples'] / rate
    share = outside / (outside + networks)
    return f'{text}: {share:.1%} of one whose 64x64 samples take {networks:.0f} s.'


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A table in Markdown."""
    marks = [':--', *['--:'] * (len(head) - 1)]
    return '\n'.join(f'| {" | ".join(map(str, row))} |' for row in (head, marks, *rows))


def put_into(page: Path, section: str) -> None:
    """Puts the section in the place of the one that a page has.

    Raises:
        ValueError: It has none.
    """
    text = page.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f'{page} has no place for the results: a line {BEGIN}, and one {END}')
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(before + section.strip() + after)
