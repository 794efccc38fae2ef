/** What the routes need of HTTP: who asks, what a body holds, and what becomes of errors. */
import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express';
import { UniqueConstraintError, ValidationError } from 'sequelize';
import { User } from './models.js';

/** An error that says what to answer. */
export class HttpError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Who asks: the name in the header `x-user`, in place of a session. It is looked up for every request. */
export const identify: RequestHandler = async (request, response, next) => {
  const username = request.get('x-user');
  const locals: Locals = response.locals;
  locals.viewer = username === undefined ? null : await User.cache.getOrNone({ username });
  if (username !== undefined && locals.viewer === null) throw new HttpError(401, `There is no user ${username}.`);
  next();
};

interface Locals {
  viewer?: User | null;
}

/** The user who asks, if anybody. */
export const viewerOf = (response: Response): User | null => (response.locals as Locals).viewer ?? null;

/** The user who asks. @throws HttpError 401 */
export function signedIn(response: Response): User {
  const viewer = viewerOf(response);
  if (viewer === null) throw new HttpError(401, 'Say who you are: x-user.');
  return viewer;
}

/** Lets a user change what is their own, and an administrator everything. @throws HttpError 401, 403 */
export function mayChange(response: Response, ownerId: number): void {
  const viewer = signedIn(response);
  if (viewer.id !== ownerId && !viewer.admin) throw new HttpError(403, 'That belongs to somebody else.');
}

export const onlyAdmins: RequestHandler = (_request, response, next) => {
  if (!signedIn(response).admin) throw new HttpError(403, 'For administrators.');
  next();
};

/** The fields of a body that are there, each of them text. @throws HttpError 400 */
export function texts<N extends string>({ body }: Request, ...names: readonly N[]): Partial<Record<N, string>> {
  const found: Partial<Record<N, string>> = {};
  for (const name of names) {
    const value = fieldOf(body, name);
    if (value === undefined) continue;
    if (typeof value !== 'string') throw new HttpError(400, `'${name}' must be text.`);
    found[name] = value;
  }
  return found;
}

/** The same where none may be missing. @throws HttpError 400 */
export function allTexts<N extends string>(request: Request, ...names: readonly N[]): Record<N, string> {
  const found = texts(request, ...names);
  const missing = names.find((name) => found[name] === undefined);
  if (missing !== undefined) throw new HttpError(400, `'${missing}' is missing.`);
  return found as Record<N, string>;
}

/** A field of a body that is a list of texts; `undefined` if it is not there. @throws HttpError 400 */
export function textList({ body }: Request, name: string): readonly string[] | undefined {
  const value = fieldOf(body, name);
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) throw new HttpError(400, `'${name}' must be a list of texts.`);
  return value;
}

function fieldOf(body: unknown, name: string): unknown {
  if (typeof body !== 'object' || body === null) throw new HttpError(400, 'The body must be a JSON object.');
  return Object.hasOwn(body, name) ? (body as Readonly<Record<string, unknown>>)[name] : undefined;
}

/** Every error as JSON. What the client can do nothing about is logged, and not told. */
export const answerErrors: ErrorRequestHandler = (error: unknown, _request, response, next) => {
  if (response.headersSent) {
    next(error);
    return;
  }
  const { status, message } = describe(error);
  if (status === 500) console.error(error);
  response.status(status).json({ error: message });
};

function describe(error: unknown): { readonly status: number; readonly message: string } {
  if (error instanceof UniqueConstraintError) return { status: 409, message: `${Object.keys(error.fields).join(', ')}: taken already.` };
  if (error instanceof ValidationError) return { status: 422, message: error.errors.map(({ message }) => message).join(' ') };
  // NotFoundError of getOr404, HttpError, and the errors of express.json.
  if (error instanceof Error && 'status' in error && typeof error.status === 'number' && error.status < 500) {
    return { status: error.status, message: error.message };
  }
  return { status: 500, message: 'Something went wrong here.' };
}
