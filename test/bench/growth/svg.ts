/** Line charts as SVG text. */

/** One line of a chart. */
export interface Line {
  readonly name: string;
  /** In the order of x, at least one. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** What a chart shows. */
export interface Chart {
  readonly title: string;
  /** What x counts; its scale is logarithmic. */
  readonly x: string;
  /** What y is; its scale is linear and begins at 0. */
  readonly y: string;
  readonly lines: readonly Line[];
}

const width = 640;
const height = 320;
const left = 56;
const right = 40;
const top = 36;
const legendRow = 18;
/** Told apart without colour as well: by the dashes and by the marks. */
const styles = [
  { colour: '#1b6ca8', dash: '' },
  { colour: '#c2410c', dash: '6 3' },
  { colour: '#3f7d20', dash: '2 3' },
  { colour: '#6b21a8', dash: '8 3 2 3' },
];

/**
 * The chart as an SVG document of its own.
 * @throws Error for a chart without points, or with an x that has no logarithm
 */
export function svgOf({ title, x, y, lines }: Chart): string {
  const all = lines.flatMap(({ points }) => points);
  const xs = [...new Set(all.map(([at]) => at))].sort((a, b) => a - b);
  const [least, most] = [xs[0], xs.at(-1)];
  if (least === undefined || most === undefined) throw new Error(`The chart '${title}' has no points.`);
  if (!(least > 0) || !all.every((point) => point.every(Number.isFinite))) throw new Error(`The chart '${title}' has a point that cannot be drawn.`);
  const bottom = height - 64 - legendRow * lines.length;
  const ticks = ticksTo(Math.max(...all.map(([, value]) => value)));
  const highest = ticks.at(-1)!;
  const atX = (value: number): number =>
    round(most === least ? (left + width - right) / 2 : left + ((width - left - right) * Math.log(value / least)) / Math.log(most / least));
  const atY = (value: number): number => round(bottom - ((bottom - top) * value) / highest);
  const text = (textX: number, textY: number, content: string, rest = ''): string =>
    `<text x="${String(textX)}" y="${String(textY)}"${rest}>${escaped(content)}</text>`;

  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${String(width)} ${String(height)}" width="${String(width)}" height="${String(height)}" role="img" font-family="sans-serif" font-size="12" fill="#222">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${String(width)}" height="${String(height)}" fill="#fff"/>`,
    text(left, 20, title, ' font-size="14" font-weight="bold"'),
    ...ticks.flatMap((tick) => [
      `<line x1="${String(left)}" x2="${String(width - right)}" y1="${String(atY(tick))}" y2="${String(atY(tick))}" stroke="${tick === 0 ? '#222' : '#ddd'}"/>`,
      text(left - 6, atY(tick) + 4, numberText(tick), ' text-anchor="end"'),
    ]),
    ...xs.flatMap((tick) => [
      `<line x1="${String(atX(tick))}" x2="${String(atX(tick))}" y1="${String(bottom)}" y2="${String(bottom + 4)}" stroke="#222"/>`,
      text(atX(tick), bottom + 18, numberText(tick), ' text-anchor="middle"'),
    ]),
    text(round((left + width - right) / 2), bottom + 36, x, ' text-anchor="middle"'),
    text(14, round((top + bottom) / 2), y, ` text-anchor="middle" transform="rotate(-90 14 ${String(round((top + bottom) / 2))})"`),
    ...lines.flatMap(({ name, points }, index) => {
      const { colour, dash } = styles[index % styles.length]!;
      const stroke = `stroke="${colour}" stroke-width="2"${dash === '' ? '' : ` stroke-dasharray="${dash}"`}`;
      const legendY = bottom + 36 + legendRow * (index + 1);
      return [
        `<polyline fill="none" ${stroke} points="${points.map(([px, py]) => `${String(atX(px))},${String(atY(py))}`).join(' ')}"/>`,
        ...points.map(([px, py]) => `<circle cx="${String(atX(px))}" cy="${String(atY(py))}" r="3" fill="${colour}"/>`),
        `<line x1="${String(left)}" x2="${String(left + 28)}" y1="${String(legendY - 4)}" y2="${String(legendY - 4)}" ${stroke}/>`,
        text(left + 36, legendY, name),
      ];
    }),
    '</svg>',
    '',
  ].join('\n');
}

/** From 0 in equal steps of 1, 2 or 5 times a power of ten, at most six, up to `highest` or just beyond it. */
export function ticksTo(highest: number): number[] {
  if (!(highest > 0)) return [0, 1];
  const power = 10 ** Math.floor(Math.log10(highest / 5));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => highest / size <= 5)!;
  const count = Math.ceil(highest / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, at) => Number((at * step).toPrecision(6)));
}

const numberText = (value: number): string => value.toLocaleString('en');

const round = (value: number): number => Math.round(value * 10) / 10;

const escaped = (text: string): string => text.replace(/[&<>"]/g, (one) => `&#${String(one.charCodeAt(0))};`);
