package roll

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"holdfast/internal/fault"
)

// Plan is what is to be done, in order, and what it reaches. Its JSON form can
// be kept and carried out later by whoever finds the state unchanged.
type Plan struct {
	Version    int         `json:"version"`
	Rule       string      `json:"rule"` // the message or the limit that asked
	Met        bool        `json:"met"`  // every goal holds once the plan is carried out
	Goals      []Outcome   `json:"goals"`
	Watermarks []Watermark `json:"watermarks"` // those that rise; to be committed before the first step
	Gaps       []Gap       `json:"gaps"`
	Steps      []Step      `json:"steps"`     // what leaves first, then what moves, each oldest first
	Obstacles  []Obstacle  `json:"obstacles"` // where not Met: what stands in the way
}

// PlanVersion is the version of a plan's JSON form.
const PlanVersion = 1

// Outcome is one goal, before and after.
type Outcome struct {
	What   string `json:"what"`
	Limit  int64  `json:"limit"`
	Before int64  `json:"before"`
	After  int64  `json:"after"`
	Unit   string `json:"unit"` // "bytes" or "files"
	Met    bool   `json:"met"`
}

// Watermark says that of a store, all that links below Below is gone. Rows of
// a segment that stays are hidden by it at once.
type Watermark struct {
	Stream string `json:"stream"`
	Index  bool   `json:"index,omitempty"`
	Link   Link   `json:"link,omitempty"` // empty: by seq
	Below  int64  `json:"below"`
}

// Gap is a range of seqs that sinks never get, because their stream is
// configured to drop the oldest when it is full.
type Gap struct {
	Stream string   `json:"stream"`
	First  uint64   `json:"first"`
	Last   uint64   `json:"last"`
	Sinks  []string `json:"sinks"`
}

// Act is what a step does.
type Act string

// The acts.
const (
	Remove Act = "remove"
	Move   Act = "move"
)

// Step removes or moves one file.
type Step struct {
	Act    Act    `json:"act"`
	Stream string `json:"stream"`
	Index  bool   `json:"index,omitempty"`
	Number uint64 `json:"number"`
	Bytes  int64  `json:"bytes"`
	From   Tier   `json:"from"`
	To     Tier   `json:"to,omitempty"` // of a move
}

// Obstacle is what keeps files that would have to go.
type Obstacle struct {
	Why    Why    `json:"why"`
	Stream string `json:"stream,omitempty"`
	Index  bool   `json:"index,omitempty"`
	Number uint64 `json:"number,omitempty"` // of the first of them
	Files  int    `json:"files,omitempty"`
	Bytes  int64  `json:"bytes"`
	Who    string `json:"who,omitempty"` // the sink, the volume, or the store that a link leads to
}

// Why is why a file stays.
type Why string

// The reasons. Each says what an operator can do about it.
const (
	Needed  Why = "needed"  // a sink has not committed it
	Active  Why = "active"  // it is written to, or the newest of its stream
	HeldBy  Why = "held"    // a hold keeps it
	KeptBy  Why = "kept"    // keep_at_least keeps it
	Linked  Why = "linked"  // rows that stay are tied to it
	Shared  Why = "shared"  // its warm tier is on the same volume, so moving it frees nothing
	Foreign Why = "foreign" // files that are not Holdfast's
)

// name returns what a store is called.
func name(stream string, index bool) string {
	s := Store{Stream: stream, IsIndex: index}
	return s.Name()
}

// String returns one line.
func (o Obstacle) String() string {
	files := fmt.Sprintf("%d of %s from number %d on, %s", o.Files, name(o.Stream, o.Index), o.Number, Size(o.Bytes).Resolved())
	switch o.Why {
	case Needed:
		return fmt.Sprintf("sink %q still needs %s", o.Who, files)
	case Active:
		return "written to, or the newest: " + files
	case HeldBy:
		return "a hold keeps " + files
	case KeptBy:
		return "keep_at_least keeps " + files
	case Shared:
		return "the warm tier is on the same volume, so that moving frees nothing: " + files
	case Linked:
		return fmt.Sprintf("rows that %s cannot give up are tied to %s", o.Who, files)
	}
	return fmt.Sprintf("%s on volume %q would have to be freed by removing what is not Holdfast's", Size(o.Bytes).Resolved(), o.Who)
}

// String returns one line.
func (s Step) String() string {
	way := "from " + string(s.From)
	if s.Act == Move {
		way += " to " + string(s.To)
	}
	return fmt.Sprintf("%s %s %d %s, %s", s.Act, name(s.Stream, s.Index), s.Number, way, Size(s.Bytes).Resolved())
}

// String returns one line.
func (w Watermark) String() string {
	switch w.Link {
	case "":
		return fmt.Sprintf("%s: all below seq %d is gone", name(w.Stream, w.Index), w.Below)
	case ByTime:
		return fmt.Sprintf("%s: all received before %s is gone", name(w.Stream, w.Index), time.UnixMicro(w.Below).UTC().Format(time.RFC3339Nano))
	}
	return fmt.Sprintf("%s: all with %s below %d is gone", name(w.Stream, w.Index), w.Link, w.Below)
}

// String returns one line.
func (g Gap) String() string {
	return fmt.Sprintf("%s: rows %d to %d are dropped before %s got them", g.Stream, g.First, g.Last, strings.Join(g.Sinks, ", "))
}

// String returns one line.
func (o Outcome) String() string {
	show := func(n int64) string {
		if o.Unit == "bytes" {
			return Size(n).Resolved()
		}
		return fmt.Sprintf("%d %s", n, o.Unit)
	}
	met := "holds"
	if !o.Met {
		met = "does not hold"
	}
	return fmt.Sprintf("%s: limit %s, before %s, after %s: %s", o.What, show(o.Limit), show(o.Before), show(o.After), met)
}

// WriteText writes the plan for people.
func (p *Plan) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "rule: %s\n", p.Rule)
	list(&b, "goal", p.Goals)
	list(&b, "watermark", p.Watermarks)
	list(&b, "gap", p.Gaps)
	list(&b, "step", p.Steps)
	list(&b, "in the way", p.Obstacles)
	var removed, moved int64
	acts := map[Act]int{}
	for _, s := range p.Steps {
		acts[s.Act]++
		if s.Act == Remove {
			removed += s.Bytes
		} else {
			moved += s.Bytes
		}
	}
	fmt.Fprintf(&b, "in all: removes %d, %s; moves %d, %s\n", acts[Remove], Size(removed).Resolved(), acts[Move], Size(moved).Resolved())
	_, err := io.WriteString(w, b.String())
	return err
}

// list writes one line per entry.
func list[T fmt.Stringer](b *strings.Builder, what string, all []T) {
	for _, one := range all {
		fmt.Fprintf(b, "%s: %s\n", what, one)
	}
}

// JSON returns the plan as one line. Empty lists are there as such.
func (p *Plan) JSON() ([]byte, error) {
	c := *p
	c.Goals, c.Watermarks, c.Gaps = slices.Concat([]Outcome{}, p.Goals), slices.Concat([]Watermark{}, p.Watermarks), slices.Concat([]Gap{}, p.Gaps)
	c.Steps, c.Obstacles = slices.Concat([]Step{}, p.Steps), slices.Concat([]Obstacle{}, p.Obstacles)
	return json.Marshal(&c)
}

// ReadPlan reads what JSON returned.
func ReadPlan(text []byte) (*Plan, error) {
	var p Plan
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fault.New(fault.InvalidTextRepr, "the plan cannot be read").Because(err).WithHint("make it anew with holdfast roll")
	}
	if p.Version != PlanVersion {
		return nil, wrong("the plan has version %d, this program knows %d", p.Version, PlanVersion).WithHint("make it anew with holdfast roll")
	}
	return &p, nil
}
