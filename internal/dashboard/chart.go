package dashboard

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/agent"
)

// chart is a line over the last minutes, drawn by the server in a box of chartWidth by chartHeight.
type chart struct {
	Title string
	Unit  string
	Now   string
	Most  string
	Line  string // points of a polyline
	Area  string // the same, closed at the bottom
}

const (
	chartWidth  = 300
	chartHeight = 56
)

// plot draws values with the newest at the right edge. A short history starts at that edge too.
func plot(title, unit string, now float64, values []float64, text func(float64) string) chart {
	c := chart{Title: title, Unit: unit, Now: text(now)}
	most := 0.0
	for _, v := range values {
		most = max(most, v)
	}
	c.Most = text(most)
	if len(values) == 0 {
		return c
	}
	const step = float64(chartWidth) / (maxSamples - 2)
	left := chartWidth - step*float64(len(values)-1)
	var b strings.Builder
	for i, v := range values {
		y := float64(chartHeight - 1)
		if most > 0 {
			y -= v / most * (chartHeight - 4)
		}
		fmt.Fprintf(&b, "%.1f,%.1f ", left+step*float64(i), y)
	}
	c.Line = strings.TrimSpace(b.String())
	c.Area = fmt.Sprintf("%.1f,%d %s %d,%d", left, chartHeight, c.Line, chartWidth, chartHeight)
	return c
}

// picture is the cluster as this peer sees it: this peer in the middle, the others around it, and
// the state of the link to each.
type picture struct {
	Self  string
	Box   string // the viewBox of the drawing
	Nodes []node
	More  int // the number of peers that are not drawn
	Label string
}

// node is another peer in the picture.
type node struct {
	Name  string
	State string // CSS class: good, wait or bad
	Text  string // the text on the link
	Title string
	X, Y  float64
	MX    float64 // the place of the text, beside the line
	MY    float64
	Side  string // which part of the text is at that place: start, middle or end
}

const (
	maxNodes    = 18
	pictureX    = 260.0 // the centre
	pictureY    = 170.0
	pictureWide = 190.0 // the half axes of the ellipse
	pictureHigh = 122.0
)

// draw returns the picture. If there are many peers, those with trouble are drawn first.
func draw(members []agent.Member) picture {
	var p picture
	var others []agent.Member
	for _, m := range members {
		switch {
		case m.Self:
			p.Self = cut(m.Name, 14)
		case m.State != "left":
			others = append(others, m)
		}
	}
	slices.SortStableFunc(others, func(x, y agent.Member) int { return trouble(y) - trouble(x) })
	p.More = max(len(others)-maxNodes, 0)
	others = others[:len(others)-p.More]
	p.Box = "0 0 520 340"
	if len(others) <= 2 {
		p.Box = "0 110 520 120" // the peers are side by side
	}
	for i, m := range others {
		angle := 2*math.Pi*float64(i)/float64(len(others)) - math.Pi/2
		if len(others) <= 2 {
			angle += math.Pi / 2
		}
		n := node{Name: cut(m.Name, 14), X: pictureX + pictureWide*math.Cos(angle), Y: pictureY + pictureHigh*math.Sin(angle)}
		n.MX, n.MY, n.Side = beside(n.X-pictureX, n.Y-pictureY)
		n.State = []string{"good", "wait", "bad"}[trouble(m)]
		n.Text = linkText(m)
		n.Title = m.Name + ": " + n.Text
		p.Nodes = append(p.Nodes, n)
	}
	p.Label = fmt.Sprintf("%s and its links to %s", p.Self, plural(len(others), "peer"))
	return p
}

// beside returns the place of the text of a line from the centre by dx and dy: a little off the
// line, to the right of a steep line and above a flat one.
func beside(dx, dy float64) (x, y float64, side string) {
	const away = 11
	long := math.Hypot(dx, dy)
	nx, ny := -dy/long, dx/long
	if steep := math.Abs(nx) > .5; steep && nx < 0 || !steep && ny > 0 {
		nx, ny = -nx, -ny
	}
	side = "middle"
	if nx > .3 {
		side = "start"
	} else if nx < -.3 {
		side = "end"
	}
	return pictureX + dx*.55 + nx*away, pictureY + dy*.55 + ny*away, side
}

// trouble orders peers by how urgently somebody should look at them.
func trouble(m agent.Member) int {
	switch {
	case m.State == "dead" || len(m.Problems) > 0:
		return 2
	case !m.Agrees || m.Packets.Blocked():
		return 1
	}
	return 0
}

// linkText describes the state of a peer in a word or two.
func linkText(m agent.Member) string {
	switch {
	case m.State == "dead":
		return "out of reach"
	case len(m.Problems) > 0:
		return cut(m.Problems[0], 16)
	case m.Packets.Blocked():
		return "UDP blocked"
	case m.Lag > 0:
		return count(m.Lag) + " behind"
	case !m.Agrees:
		return "acknowledged"
	}
	return "equal"
}
