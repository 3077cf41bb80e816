// Draws a provisioned dashboard with Grafana's own components: frames, units, colors, axes and legends are Grafana's.
// Not Grafana's: the layout, field overrides (applied here by hand), variables and everything around the panels.
// `window.INPUT` has the dashboard's JSON and what Prometheus answered to each of its queries.
import { createRoot } from 'react-dom/client';
import {
  createTheme,
  dateTime,
  getDisplayProcessor,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  standardTransformers,
  standardTransformersRegistry,
  ThemeContext,
  toDataFrame,
  transformDataFrame,
  FieldType,
} from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, PanelChrome, TimeSeries } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import 'uplot/dist/uPlot.min.css';

type Series = { metric: Record<string, string>; values: [number, string][] };
type Answer = { legend: string; series: Series[] };
type Input = { dashboard: any; answers: Record<number, Answer[]>; start: number; end: number; step: number; rows: string[] };

const input: Input = (window as any).INPUT;
const theme = createTheme({ colors: { mode: 'dark' } });
const zone = 'utc';
const range = {
  from: dateTime(input.start * 1000),
  to: dateTime(input.end * 1000),
  raw: { from: dateTime(input.start * 1000), to: dateTime(input.end * 1000) },
};
const CELL = 38;
const GAP = 8;
const WIDTH = 1600;
const COLUMN = WIDTH / 24;

standardTransformersRegistry.setInit(
  () =>
    [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map((each) => ({
      id: each.id,
      name: each.name,
      transformation: async () => each,
    })) as any
);

function named(legend: string, metric: Record<string, string>): string {
  if (legend === '__auto') {
    return Object.values(metric).join(' ') || 'value';
  }
  return legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] ?? '');
}

function configured(panel: any, frames: any[]): any[] {
  let index = 0;
  for (const frame of frames) {
    for (const field of frame.fields) {
      const override = panel.fieldConfig.overrides.find((each: any) => each.matcher.options === (field.config.displayName ?? field.name));
      const properties = Object.fromEntries((override?.properties ?? []).map((each: any) => [each.id, each.value]));
      const { 'custom.cellOptions': cellOptions, ...plain } = properties;
      const numbers = field.type === FieldType.number;
      field.config = { ...(numbers ? panel.fieldConfig.defaults : {}), ...field.config, ...plain };
      field.config.custom = { ...panel.fieldConfig.defaults.custom, ...(cellOptions ? { cellOptions } : {}) };
      if (numbers) {
        field.state = { ...field.state, seriesIndex: index++ };
      }
      field.display = getDisplayProcessor({ field, theme, timeZone: zone });
    }
  }
  return frames;
}

function framesOverTime(panel: any): any[] {
  const frames = input.answers[panel.id].flatMap((answer) =>
    answer.series.map((series) =>
      toDataFrame({
        fields: [
          { name: 'Time', type: FieldType.time, values: series.values.map(([at]) => at * 1000), config: { interval: input.step * 1000 } },
          {
            name: 'Value',
            type: FieldType.number,
            values: series.values.map(([, text]) => (text === 'NaN' ? null : Number(text))),
            labels: series.metric,
            config: { displayNameFromDS: named(answer.legend, series.metric) },
          },
        ],
      })
    )
  );
  return configured(panel, frames);
}

function tables(panel: any): any[] {
  const answers = input.answers[panel.id];
  return answers.map((answer, number) => {
    const labels = [...new Set(answer.series.flatMap((series) => Object.keys(series.metric)))];
    const value = answers.length > 1 ? `Value #${String.fromCharCode(65 + number)}` : 'Value';
    return toDataFrame({
      refId: String.fromCharCode(65 + number),
      fields: [
        { name: 'Time', type: FieldType.time, values: answer.series.map(({ values }) => values[0][0] * 1000) },
        ...labels.map((label) => ({
          name: label,
          type: FieldType.string,
          values: answer.series.map(({ metric }) => metric[label] ?? ''),
        })),
        { name: value, type: FieldType.number, values: answer.series.map(({ values }) => Number(values[0][1])) },
      ],
    });
  });
}

function displayed(panel: any) {
  return getFieldDisplayValues({
    data: framesOverTime(panel),
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text: string) => text,
    theme,
    timeZone: zone,
  });
}

function Stats({ panel, width, height }: any) {
  const values = displayed(panel);
  const each = width / Math.max(1, values.length);
  return (
    <div style={{ display: 'flex' }}>
      {values.map((value, number) => (
        <BigValue
          key={number}
          value={values.length > 1 ? value.display : { ...value.display, title: undefined }}
          width={each}
          height={height}
          theme={theme}
          colorMode={panel.options.colorMode}
          graphMode={panel.options.graphMode}
          textMode={panel.options.textMode}
          justifyMode={panel.options.justifyMode}
          count={values.length}
        />
      ))}
    </div>
  );
}

function Bars({ panel, width, height }: any) {
  const values = displayed(panel);
  const numbers = values.map((value) => value.display.numeric);
  const most = panel.fieldConfig.defaults.max ?? Math.max(...numbers, 1e-9);
  const alignment = getDisplayValueAlignmentFactors(values);
  const each = Math.min(60, height / Math.max(1, values.length));
  return (
    <>
      {values.map((value, number) => (
        <BarGauge
          key={number}
          value={value.display}
          field={{ ...value.field, min: panel.fieldConfig.defaults.min ?? 0, max: most }}
          display={(raw: any) => getDisplayProcessor({ field: { type: FieldType.number, config: value.field }, theme })(raw)}
          width={width}
          height={each - 6}
          theme={theme}
          orientation={'horizontal' as any}
          displayMode={panel.options.displayMode}
          namePlacement={panel.options.namePlacement}
          showUnfilled={panel.options.showUnfilled}
          valueDisplayMode={panel.options.valueMode}
          text={panel.options.text}
          alignmentFactors={alignment}
        />
      ))}
    </>
  );
}

function Graph({ panel, width, height }: any) {
  const frames = framesOverTime(panel);
  return (
    <TimeSeries
      frames={frames}
      structureRev={1}
      timeRange={range as any}
      timeZone={zone}
      width={width}
      height={height}
      legend={panel.options.legend}
      options={panel.options}
    />
  );
}

function Content({ panel, width, height }: any) {
  switch (panel.type) {
    case 'stat':
      return <Stats panel={panel} width={width} height={height} />;
    case 'bargauge':
      return <Bars panel={panel} width={width} height={height} />;
    case 'table':
      return <TableNG data={panel.joined} width={width} height={height} cellHeight={panel.options.cellHeight} structureRev={1} enableVirtualization={false} />;
    default:
      return <Graph panel={panel} width={width} height={height} />;
  }
}

// Collapsed rows are drawn open; only the rows that were asked for are drawn.
function placed(): { panels: any[]; height: number } {
  const panels: any[] = [];
  let top = 0;
  let row: any = null;
  let members: any[] = [];
  const flush = () => {
    if (row !== null && (input.rows.length === 0 || input.rows.includes(row.title))) {
      const first = row.gridPos.y + 1;
      panels.push({ ...row, y: top });
      members.forEach((panel) => panels.push({ ...panel, y: top + 1 + panel.gridPos.y - first }));
      top += 1 + Math.max(0, ...members.map((panel) => panel.gridPos.y - first + panel.gridPos.h));
    }
  };
  for (const panel of input.dashboard.panels) {
    if (panel.type === 'row') {
      flush();
      row = panel;
      members = [...panel.panels];
    } else {
      members.push(panel);
    }
  }
  flush();
  return { panels, height: top };
}

async function joined(panel: any): Promise<any> {
  const frames = await new Promise<any[]>((resolve) =>
    transformDataFrame(panel.transformations, tables(panel)).subscribe((made: any[]) => resolve(made))
  );
  return configured(panel, frames)[0];
}

function Page({ panels, height }: { panels: any[]; height: number }) {
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ padding: 16, width: WIDTH + 32, background: theme.colors.background.canvas }}>
        <div style={{ font: `500 20px ${theme.typography.fontFamily}`, color: theme.colors.text.primary, height: 36 }}>
          {input.dashboard.title}
        </div>
        <div style={{ position: 'relative', height: height * CELL }}>
          {panels.map((panel) => {
            const place = { position: 'absolute' as const, top: panel.y * CELL, left: (panel.gridPos.x ?? 0) * COLUMN };
            if (panel.type === 'row') {
              return (
                <div key={panel.id} style={{ ...place, font: `500 15px ${theme.typography.fontFamily}`, color: theme.colors.text.primary, paddingTop: 8 }}>
                  ⌄ {panel.title}
                </div>
              );
            }
            const width = panel.gridPos.w * COLUMN - GAP;
            const height = panel.gridPos.h * CELL - GAP;
            return (
              <div key={panel.id} style={place}>
                <PanelChrome title={panel.title} description={panel.description} width={width} height={height}>
                  {(innerWidth, innerHeight) => <Content panel={panel} width={innerWidth} height={innerHeight} />}
                </PanelChrome>
              </div>
            );
          })}
        </div>
      </div>
    </ThemeContext.Provider>
  );
}

async function main() {
  const page = placed();
  for (const panel of page.panels) {
    if (panel.type === 'table') {
      panel.joined = await joined(panel);
    }
  }
  createRoot(document.getElementById('page')!).render(<Page {...page} />);
}

main().catch((error) => document.body.append(String(error.stack)));
