// Package verdict says how a cluster is, from what one peer knows of it. Every surface
// that tells users whether all is well asks it, so that all of them tell the same.
//
//	I1  Of the same knowledge it says the same. It reads no clock and asks nobody.
//	I2  What and Next change only when the state does: screens read them aloud.
//	I3  Each finding says what is so, why, and what to do next.
package verdict
