package roll

// queue is a heap of stores or groups, the one that comes first at the front.
// It is container/heap without the calls through an interface, of which a plan
// would make several for each file.
type queue struct {
	items []int
	less  func(a, b int) bool
}

// init puts all items in order.
func (q *queue) init() {
	for at := len(q.items)/2 - 1; at >= 0; at-- {
		q.down(at)
	}
}

// fix puts the front in order after it has changed.
func (q *queue) fix() { q.down(0) }

// pop removes the front.
func (q *queue) pop() {
	last := len(q.items) - 1
	q.items[0] = q.items[last]
	q.items = q.items[:last]
	q.down(0)
}

// down moves an item back until it stands before those below it.
func (q *queue) down(at int) {
	for {
		first := at
		for below := 2*at + 1; below <= 2*at+2 && below < len(q.items); below++ {
			if q.less(q.items[below], q.items[first]) {
				first = below
			}
		}
		if first == at {
			return
		}
		q.items[at], q.items[first] = q.items[first], q.items[at]
		at = first
	}
}
