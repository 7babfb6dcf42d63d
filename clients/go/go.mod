module github.com/freshet-dev/freshet/clients/go

go 1.23
