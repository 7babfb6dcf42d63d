// Command example is GET /products/{id} over Postgres, read through the sidecar.
//
//	DATABASE_URL=postgres://localhost/shop go run .
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"strconv"

	freshet "github.com/freshet-dev/freshet/clients/go"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

type product struct {
	ID    int32  `json:"id"`
	Name  string `json:"name"`
	Price string `json:"price"`
}

type shop struct {
	client   *freshet.Client
	database *pgxpool.Pool
}

func (s shop) readProduct(ctx context.Context, id int32) (product, error) {
	var p product
	query := "SELECT id, name, price::text FROM inventory.product WHERE id = $1"
	err := s.database.QueryRow(ctx, query, id).Scan(&p.ID, &p.Name, &p.Price)
	if errors.Is(err, pgx.ErrNoRows) {
		err = freshet.ErrAbsent
	}
	return p, err
}

func (s shop) serve(w http.ResponseWriter, r *http.Request) {
	number, err := strconv.ParseInt(r.PathValue("id"), 10, 32)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	id := int32(number)
	load := func(ctx context.Context, _ *freshet.Fill) (product, error) { return s.readProduct(ctx, id) }
	found, answer, err := freshet.GetOrLoad(r.Context(), s.client, "products", freshet.Columns(id), load)
	w.Header().Set("X-Cache", string(answer.Status))
	switch {
	case errors.Is(err, freshet.ErrAbsent):
		http.Error(w, "there is no such product", http.StatusNotFound)
	case err != nil:
		// The database's: no error comes from the cache.
		log.Print(err)
		http.Error(w, "the database failed", http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(found)
	}
}

func main() {
	client, err := freshet.New(freshet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	database, err := pgxpool.New(context.Background(), os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("GET /products/{id}", shop{client, database}.serve)
	log.Fatal(http.ListenAndServe(cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:8080"), nil))
}
