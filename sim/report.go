package sim

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"
)

//go:embed report.html
var reportPage string

var reportTemplate = template.Must(template.New("report").Parse(reportPage))

// ReportOptions say what a report shows beside the run.
type ReportOptions struct {
	Command string // the command that plays the run again; empty: that of the seed
}

// The sizes of the picture, in the units of its SVG.
const (
	chartWidth = 1000
	laneHeight = 28
	chartTall  = 90
)

// report has the data of the page. Its numbers are in the units of the picture.
type report struct {
	Script   Script
	Result   Result
	Text     string
	Command  string
	Headline string
	Failed   bool
	Height   int // of the lanes
	Lanes    []lane
	Cuts     []band
	Marks    []mark
	Ticks    []tick
	Groups   chart
	Bytes    chart
	Timeline []Moment
	Covered  []string
}

type lane struct {
	Name  string
	Y     int
	Parts []band
}

// lane is the row of one peer.
//
// band is an interval of time. Its Group is the number of the peer's state, or 0 if the
// peer is down.
type band struct {
	X, W  float64
	Group int
	Title string
}

type mark struct {
	X           float64
	Y           int
	Sign, Title string
	Bad         bool
}

type tick struct {
	X     float64
	Label string
}

type chart struct{ Points, Most string }

// signs are the signs of the moments of one peer.
var signs = map[Kind]string{Killed: "✕", Started: "▲", Paused: "‖", Resumed: "▶", Torn: "⚡", Suspected: "?", Rotated: "↻", Granted: "●", Released: "○", Lost: "◌", Violated: "!"}

// WriteReport writes a self-contained HTML page about a run: the peers over time, cuts,
// divergence and bytes. The run must have been played with Options.Report.
func WriteReport(w io.Writer, s Script, r Result, opt ReportOptions) error {
	p := report{
		Script: s, Result: r, Text: s.String(), Command: opt.Command, Failed: len(r.Violations) > 0,
		Height: s.Config.Peers * laneHeight, Timeline: Timeline(r), Covered: sortedKeys(r.Covered),
	}
	if p.Command == "" {
		p.Command = fmt.Sprintf("sentinel-peer sim --seed %d", r.Seed)
	}
	p.Headline = fmt.Sprintf("%d peers, %v of faults: agreed %v after the last one", s.Config.Peers, s.Ends, r.Settled.Round(time.Millisecond))
	if p.Failed {
		p.Headline = "Violated: " + r.Violations[0]
	}
	x := func(t time.Duration) float64 {
		return float64(t) / float64(max(r.Virtual, 1)) * chartWidth
	}
	for i := range s.Config.Peers {
		p.Lanes = append(p.Lanes, lane{fmt.Sprintf("n%d", i+1), i * laneHeight, bands(r, i, x)})
	}
	for i, m := range r.Moments {
		switch {
		case m.Kind == Cut:
			end := r.Virtual
			if k := slices.IndexFunc(r.Moments[i:], func(o Moment) bool { return o.Kind == Healed }); k >= 0 {
				end = r.Moments[i+k].At
			}
			p.Cuts = append(p.Cuts, band{X: x(m.At), W: x(end) - x(m.At), Title: fmt.Sprintf("%v to %v: %s", m.At, end, m.Text)})
		case m.Peer > 0 && signs[m.Kind] != "":
			p.Marks = append(p.Marks, mark{x(m.At), (m.Peer-1)*laneHeight + laneHeight/2 + 5, signs[m.Kind], m.String(), m.Kind == Violated})
		}
	}
	for i := range 6 {
		t := r.Virtual / 5 * time.Duration(i)
		p.Ticks = append(p.Ticks, tick{x(t), t.Round(100 * time.Millisecond).String()})
	}
	p.Groups = plot(r, x, func(s Sample) float64 { return float64(s.Groups()) })
	p.Bytes = plot(r, x, func(s Sample) float64 { return float64(s.Bytes) })
	return reportTemplate.Execute(w, p)
}

// bands joins the consecutive samples in which a peer has the same state.
func bands(r Result, peer int, x func(time.Duration) float64) (list []band) {
	for i, s := range r.Samples {
		end := r.Virtual
		if i+1 < len(r.Samples) {
			end = r.Samples[i+1].At
		}
		group := s.States[peer]
		if n := len(list); n > 0 && list[n-1].Group == group {
			list[n-1].W = x(end) - list[n-1].X
			continue
		}
		title := fmt.Sprintf("from %v: state %d", s.At.Round(time.Millisecond), group)
		if group == 0 {
			title = fmt.Sprintf("from %v: down", s.At.Round(time.Millisecond))
		}
		list = append(list, band{x(s.At), x(end) - x(s.At), group, title})
	}
	return list
}

// plot makes a step curve of a number over time.
func plot(r Result, x func(time.Duration) float64, of func(Sample) float64) chart {
	most := 1.0
	for _, s := range r.Samples {
		most = max(most, of(s))
	}
	var points []byte
	last := -1.0
	for _, s := range r.Samples {
		v := of(s)
		if v == last {
			continue
		}
		if last >= 0 {
			points = fmt.Appendf(points, "%.1f,%.1f ", x(s.At), chartTall*(1-last/most))
		}
		points = fmt.Appendf(points, "%.1f,%.1f ", x(s.At), chartTall*(1-v/most))
		last = v
	}
	points = fmt.Appendf(points, "%d,%.1f", chartWidth, chartTall*(1-max(last, 0)/most))
	return chart{string(points), fmt.Sprintf("%.0f", most)}
}

// Shade returns the number of the band's colour. States beyond the sixth share a colour,
// and differ by their titles.
func (b band) Shade() int { return min(b.Group, 6) }

// Labelled reports whether the band has a number, and room for it.
func (b band) Labelled() bool { return b.Group > 1 && b.W > 14 }

// Middle returns the horizontal position of the band's number.
func (b band) Middle() float64 { return b.X + b.W/2 }

// TextY returns the vertical position of the lane's text.
func (l lane) TextY() int { return l.Y + laneHeight/2 + 5 }
