// Package measure has the parts of a benchmark's report: latency distributions, rows that
// compare a measurement with a goal and a reference, and the usage of the process and the
// loopback interface.
package measure
