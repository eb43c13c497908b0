package roll

import "fmt"

// Pin says what keeps the oldest segment of a stream, if a limit were to let it
// go now.
type Pin struct {
	Stream string
	Number uint64 // of that segment
	Why    Why    // "": nothing keeps it
	Who    string // the sink, or the store that a link leads to
	// Behind is why that store cannot give it up, and BehindWho who needs it there.
	Behind    Why
	BehindWho string
}

// String returns it in words, "" where nothing keeps the segment.
func (p Pin) String() string {
	switch p.Why {
	case "":
		return ""
	case Needed:
		return fmt.Sprintf("sink %s", p.Who)
	case HeldBy:
		if p.Who == "" {
			return "a hold"
		}
		return fmt.Sprintf("hold %s", p.Who)
	case KeptBy:
		return "keep_at_least"
	case Active:
		return "it is written to, or the newest"
	}
	behind := Pin{Why: p.Behind, Who: p.BehindWho}.String()
	if p.Behind == Linked || behind == "" {
		return fmt.Sprintf("rows of %s that it is tied to", p.Who)
	}
	return fmt.Sprintf("rows of %s that it is tied to: %s", p.Who, behind)
}

// Pins tells of each stream what keeps its oldest segment, with what sinks need
// let go where drop_oldest says so. Streams without segments are left out.
func Pins(st *State) ([]Pin, error) {
	p, err := newPlanner(st)
	if err != nil {
		return nil, err
	}
	var all []Pin
	for i := range p.stores {
		w := &p.stores[i]
		if w.IsIndex || len(w.Files) == 0 {
			continue
		}
		p.cast(Goal{Kind: MaxBytes, Tier: Hot, Stores: []int{i}})
		p.dropOK = w.DropOldest
		all = append(all, p.pin(i))
	}
	return all, nil
}

// pin tells what keeps the first file of store i.
func (p *planner) pin(i int) Pin {
	w := &p.stores[i]
	one := Pin{Stream: w.Stream, Number: w.Files[0].Number}
	free := !w.Files[0].Held && w.stop(p.dropOK) > 0
	b := p.floor(w.group)
	if hidden := w.marked && w.top[0] < w.mark; free && (w.role == mover || hidden || w.top[0] < b.link) {
		return one
	}
	if one.Why, one.Who = p.why(i, 0); one.Why == Linked {
		one.Behind, one.BehindWho = b.why, b.who
	}
	return one
}
