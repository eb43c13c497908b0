package cli

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"
)

// A progress line appears only on what takes long enough for someone to
// wonder, and only where someone is looking.
const (
	progressAfter = 2 * time.Second
	progressEvery = 500 * time.Millisecond
)

// progress rewrites one line of the terminal until it is stopped.
type progress struct {
	quit chan struct{}
	done chan struct{}
}

// startProgress shows what text returns; text must be safe to call from
// another goroutine. Where standard error is no terminal nothing is shown.
func startProgress(env *Env, text func() string) *progress {
	f, ok := env.Stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	p := &progress{quit: make(chan struct{}), done: make(chan struct{})}
	go p.run(f, text)
	return p
}

func (p *progress) run(f *os.File, text func() string) {
	defer close(p.done)
	shown := false
	for wait := progressAfter; ; wait = progressEvery {
		select {
		case <-time.After(wait):
			fmt.Fprintf(f, "\r\x1b[K%s", text())
			shown = true
		case <-p.quit:
			if shown {
				fmt.Fprint(f, "\r\x1b[K")
			}
			return
		}
	}
}

// stop clears the line. It may be called on nil, and once.
func (p *progress) stop() {
	if p != nil {
		close(p.quit)
		<-p.done
	}
}
