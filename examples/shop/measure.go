package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// Figures are what was measured of one replica, in milliseconds.
type Figures struct {
	URL string  `json:"url"`
	P50 float64 `json:"p50_ms"`
	Max float64 `json:"max_ms"`
}

// From the commit, as its client sees it, to the first answer with what was committed. Each replica is asked every
// millisecond, over a connection of its own, and has the old price cached before.
func measure(ctx context.Context, database *sql.DB, args []string) error {
	flags := flag.NewFlagSet("measure", flag.ContinueOnError)
	runs := flags.Int("runs", 20, "how many commits")
	id := flags.Int("id", 1, "the product whose price changes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	urls := flags.Args()
	if len(urls) == 0 || *runs < 1 {
		return errors.New("measure: name at least one replica's URL, and ask for at least one run")
	}
	times := make([][]time.Duration, len(urls))
	for range *runs {
		if err := each(urls, func(_ int, url string) error { return warm(ctx, url, *id) }); err != nil {
			return err
		}
		const update = `UPDATE inventory.product SET price = price + 0.01 WHERE id = $1 RETURNING price::text`
		var price string
		if err := database.QueryRowContext(ctx, update, *id).Scan(&price); err != nil {
			return err
		}
		committed := time.Now()
		err := each(urls, func(at int, url string) error {
			taken, err := untilPrice(ctx, url, *id, price, committed)
			times[at] = append(times[at], taken)
			return err
		})
		if err != nil {
			return err
		}
	}
	figures := make([]Figures, len(urls))
	for at, url := range urls {
		slices.Sort(times[at])
		figures[at] = Figures{url, millis(times[at][len(times[at])/2]), millis(times[at][len(times[at])-1])}
	}
	return json.NewEncoder(os.Stdout).Encode(figures)
}

// Reads until the replica answers from its cache.
func warm(ctx context.Context, url string, id int) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		source, _, err := ask(ctx, url, id)
		if err != nil {
			return err
		}
		if source == "cache" {
			return nil
		}
	}
	return fmt.Errorf("%s: product %d was not cached in time", url, id)
}

func untilPrice(ctx context.Context, url string, id int, price string, committed time.Time) (time.Duration, error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for time.Since(committed) < 20*time.Second {
		_, got, err := ask(ctx, url, id)
		if err != nil {
			return 0, err
		}
		if got == price {
			return time.Since(committed), nil
		}
		<-tick.C
	}
	return 0, fmt.Errorf("%s: product %d had not the price %s in time", url, id, price)
}

func ask(ctx context.Context, url string, id int) (source, price string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/product/%d", url, id), nil)
	if err != nil {
		return "", "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", "", err
	}
	defer response.Body.Close()
	var got struct {
		Source  string
		Product struct{ Price string }
	}
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		return "", "", fmt.Errorf("%s: %s: %w", url, response.Status, err)
	}
	return got.Source, got.Product.Price, nil
}

// All at once; the first error.
func each(urls []string, do func(at int, url string) error) error {
	failures := make([]error, len(urls))
	var group sync.WaitGroup
	for at, url := range urls {
		group.Go(func() { failures[at] = do(at, url) })
	}
	group.Wait()
	return errors.Join(failures...)
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
