// Package demo is the demo command: three peers share, lose each other, die and agree.
package demo
