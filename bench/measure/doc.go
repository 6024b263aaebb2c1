// Package measure holds what the benchmarks report in: latency distributions,
// rows that set a measurement beside a goal and a reference, and readings of what
// the process and the loopback interface have used.
package measure
