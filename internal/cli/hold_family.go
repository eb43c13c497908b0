package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/archive"
	"holdfast/archive/closing"
	"holdfast/archive/dialect"
	"holdfast/internal/httpapi"
)

// heldFamily names the family whose archives a hold is on.
type heldFamily struct {
	name    string // in the configuration
	a       archiver
	archive int64
}

func (h *heldFamily) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&h.name, "family", "", "`family` of the configuration whose archives are meant, in place of streams")
	f.StringVar(&h.a.profile, "profile", "", "the same without a configuration: "+strings.Join(archive.Profiles(), ", ")+", or a `file` that ends in .json")
	f.StringVar(&h.a.url, "url", "", "`URL` of the family's database: postgres://, mysql:// or sqlite:FILE")
	f.StringVar(&h.a.urlFile, "url-file", "", "`file` that holds the URL")
}

// meant reports whether a family is, and no stream.
func (h *heldFamily) meant() bool {
	return h.name != "" || h.a.profile != "" || h.a.url != "" || h.a.urlFile != ""
}

// with opens the family's database.
func (h *heldFamily) with(env *Env, s *settings, do func(ctx context.Context, s *dialect.Session, f *archive.Family) error) error {
	h.a.name, h.a.config = h.name, s.file
	err := h.a.with(env, do)
	if refused := (&closing.Refusal{}); errors.As(err, &refused) {
		return refuse(env, refused.Broken, true)
	}
	return err
}

func (h *heldFamily) add(env *Env, s *settings, said httpapi.Hold) error {
	hold := archive.Hold{Name: said.Name, Archive: h.archive, Note: said.Note, By: said.By}
	if !said.From.IsZero() {
		hold.From = said.From.Unix()
	}
	if !said.To.IsZero() {
		hold.To = said.To.Unix()
	}
	return h.with(env, s, func(ctx context.Context, s *dialect.Session, f *archive.Family) error {
		if err := closing.AddHold(ctx, s, f, hold); err != nil {
			return err
		}
		n := 0
		entries, err := closing.List(ctx, s, f)
		if err != nil {
			return err
		}
		for _, set := range archive.Sets(f, entries) {
			if hold.Covers(set.ID, set.Window) {
				n++
			}
		}
		text := "it is on " + plural(n, "archive")
		if hold.Archive == 0 {
			text += " of family " + f.Name + " now, and on those of its time that come"
		}
		_, err = fmt.Fprintf(env.Stdout, "hold %s is in force: %s\n", hold.Name, text)
		return err
	})
}

func (h *heldFamily) list(env *Env, s *settings, asJSON bool) error {
	return h.with(env, s, func(ctx context.Context, s *dialect.Session, f *archive.Family) error {
		all, err := closing.Holds(ctx, s, f)
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
		for i, one := range all {
			if asJSON {
				if err := json.NewEncoder(env.Stdout).Encode(one); err != nil {
					return err
				}
				continue
			}
			if i == 0 {
				fmt.Fprintln(t, "HOLD\tARCHIVE\tFROM\tTO\tMADE\tBY\tNOTE")
			}
			number := "all"
			if one.Archive != 0 {
				number = fmt.Sprint(one.Archive)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", oneLine(one.Name), number, onDay(one.From), onDay(one.To), onDay(one.Made), oneLine(first(one.By, "-")), oneLine(one.Note))
		}
		if len(all) == 0 && !asJSON {
			fmt.Fprintln(t, "no holds")
		}
		return t.Flush()
	})
}

// onDay prints a second; "-" for none.
func onDay(second int64) string {
	if second == 0 {
		return "-"
	}
	return time.Unix(second, 0).UTC().Format(time.DateTime)
}

func (h *heldFamily) remove(env *Env, s *settings, name string) error {
	return h.with(env, s, func(ctx context.Context, s *dialect.Session, f *archive.Family) error {
		if err := closing.RemoveHold(ctx, s, f, name); err != nil {
			return err
		}
		_, err := fmt.Fprintf(env.Stdout, "hold %s on family %s is lifted\n", name, f.Name)
		return err
	})
}
