/**
 * A valid model that cannot be cached. It is thrown and caught inside the package: the model's lookups are
 * passed through, with the message as the detail that is told.
 */
export class NotCacheable extends Error {
  constructor(
    /** In a word, as the event `passthrough` tells it. */
    readonly reason: 'primary-key' | 'default-scope',
    message: string,
  ) {
    super(message);
  }
}
