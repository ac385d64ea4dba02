// Owns one promise: ONNX Runtime tells nobody what runs here. Since 1.29 its official builds report models' names, hashes
// and timings to their maker unless this variable is set before the library is loaded. Import this before it.

process.env['ORT_DISABLE_TELEMETRY'] = '1';

/** For a session's options: nothing below errors on the terminal either. */
export const QUIET = { logSeverityLevel: 3 } as const;
