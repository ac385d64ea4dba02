// Owns the log as a port: what the shells use of pino. Knows no format and no place.

export type LogFields = { readonly [field: string]: unknown };

export type Logger = {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
};
