/** An answer of Cloudflare's API that is an error. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: number;
  constructor(status: number, message: string, code = 1000) {
    super(message);
    this.status = status;
    this.code = code;
  }
}
