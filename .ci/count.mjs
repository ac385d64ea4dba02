// Owns reading vitest's JSON report: prints `passed failed skipped` as one line. A file that could not be loaded has no
// tests in the report and counts as one failed test. Exits with 1 when there is no report.

import { readFileSync } from 'node:fs';

const report = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const unloaded = report.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0);
const skipped = report.numPendingTests + report.numTodoTests;
console.log(report.numPassedTests, report.numFailedTests + unloaded.length, skipped);
for (const file of unloaded) console.error(`could not be loaded: ${file.name}: ${file.message}`);
