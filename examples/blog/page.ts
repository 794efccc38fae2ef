/** The front page. What users wrote is text in it, never markup. */

/** A string that is markup already. */
class Html {
  constructor(readonly markup: string) {}
}

type Content = Html | string | number | readonly Content[];

/** Markup with values in it, each escaped unless it is markup itself. */
function html(parts: TemplateStringsArray, ...contents: readonly Content[]): Html {
  return new Html(parts.map((part, at) => part + markupOf(contents[at] ?? '')).join(''));
}

function markupOf(content: Content): string {
  if (content instanceof Html) return content.markup;
  if (typeof content === 'object') return content.map(markupOf).join('');
  return String(content).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** What the front page shows. */
export interface FrontPage {
  readonly viewer: string | null;
  readonly posts: readonly { readonly slug: string; readonly title: string; readonly author: string; readonly comments: number }[];
  readonly tags: readonly { readonly word: string; readonly posts: number }[];
}

export function frontPage({ viewer, posts, tags }: FrontPage): string {
  return html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Notes from the harbour</title>
<h1>Notes from the harbour</h1>
<p>${viewer === null ? 'Welcome.' : html`Welcome back, <b>${viewer}</b>.`}</p>
<main>
${posts.map(
  ({ slug, title, author, comments }) => html`<article>
<h2><a href="/posts/${slug}">${title}</a></h2>
<p>by <a href="/users/${author}">${author}</a>, ${comments} ${comments === 1 ? 'comment' : 'comments'}</p>
</article>
`,
)}</main>
<aside>
<ul>
${tags.map(({ word, posts: count }) => html`<li><a href="/tags/${encodeURIComponent(word)}/posts">${word}</a> ${count}</li>\n`)}</ul>
</aside>
</html>
`.markup;
}
