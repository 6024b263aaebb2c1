// Package verdict judges the state of a cluster from what one peer knows. Every surface that tells
// users whether all is well uses it, so that all of them give the same verdict.
//
//	I1  The same knowledge has the same verdict. The package reads no clock and asks nobody.
//	I2  What and Next of a finding change only when the state does: screen readers read them aloud.
//	I3  Each finding says what is wrong, why, and what to do next.
package verdict
