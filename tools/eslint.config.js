/* The rules for the scripts: `npm run check`. */
import js from '@eslint/js';
import globals from 'globals';

const SCRIPTS = ['tds_new/static/tds_new/js/*.js'];
const TESTS = ['tests/js/*.js', 'tools/*.js'];

export default [
  { ignores: ['**/vendor/', '.venv/', 'build/', 'staticfiles/', 'var/'] },
  {
    ...js.configs.recommended,
    files: [...SCRIPTS, ...TESTS],
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      ...js.configs.recommended.rules,
      complexity: ['error', 10],
      curly: ['error', 'multi-line', 'consistent'],
      eqeqeq: 'error',
      'max-depth': ['error', 3],
      'max-len': ['error', 110],
      'max-params': ['error', 4],
      'no-implicit-globals': 'error',
      'no-shadow': 'error',
      'no-use-before-define': ['error', { functions: false, variables: false }],
      'no-var': 'error',
      'one-var': ['error', 'never'],
      'prefer-const': 'error'
    }
  },
  { files: SCRIPTS, languageOptions: { globals: { ...globals.browser, Chart: 'readonly' } } },
  {
    files: TESTS,
    languageOptions: { globals: { ...globals.node, document: 'writable', window: 'writable' } }
  }
];
